# Each command of doc/http.md works when it is pasted, and there is one for each path of the gateway.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $top = "$FindBin::Bin/../..";
my $doc = slurp_file("$top/doc/http.md");
my $node = start_node(new_node('primary', 'promgres.admin_api' => 'on', 'promgres.serve_flags' => 'on'));
my $at = gateway_url($node);

# The commands, each with what its answer begins with: what stands in the comment below, or undef.
my @examples;
foreach my $block ($doc =~ /^```sh\n(.*?)^```$/msg)
{
	my $command = '';
	foreach my $line (split /\n/, $block)
	{
		if ($line =~ /^# (.*)/)
		{
			$examples[-1][1] = $1;
			next;
		}
		$command .= "$line\n";
		next if $line =~ /\\$/ || !IPC::Run::run([ 'bash', '-n', '-c', $command ], '2>', \my $unfinished);
		push @examples, [ $command, undef ];
		$command = '';
	}
	is($command, '', 'a block ends where a command does') if $command ne '';
}
cmp_ok(scalar @examples, '>', 40, 'there are examples');

chdir PostgreSQL::Test::Utils::tempdir() or die $!;
foreach my $example (@examples)
{
	my ($command, $begin) = @$example;
	(my $here = $command) =~ s{http://localhost:9201}{$at}g;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'bash', '-eo', 'pipefail', '-c', $here ], '<', \undef, '>', \$out, '2>', \$err);
	my $name = (split /\n/, $command)[0];
	ok($ok, $name) or diag($err);
	is(substr($out, 0, length $begin), $begin, 'and its answer') if defined $begin;
}

# The other way round: what is in the table of routes is in the document, and in the README.
my $routes = slurp_file("$top/src/api/routes.c");
my $readme = slurp_file("$top/README.md");
my @paths = $routes =~ /^\t\{"[A-Z, ]+", "([^"]+)"/mg;
cmp_ok(scalar @paths, '>', 40, 'there are paths');
my $pasted = join '', map { $_->[0] } @examples;
$pasted =~ s/^for path in (.*)\ndo(.*)/join '', map { my ($p, $rest) = ($_, $2); $p =~ s{^''$}{}; "http:\/\/localhost:9201\/$p \n" } split ' ', $1/gme;
foreach my $path (@paths)
{
	my $pattern = join '[^/ ]+', map { quotemeta } split /\*/, $path, -1;
	like($pasted, qr{http://localhost:9201(?:/prometheus)?$pattern(?=['"? \n])}, "an example of $path");
	my $last = ($path =~ m{([^/*]*)/?\*?$})[0];
	like($readme, qr{^\| .*(?:`|/|…/)\Q$last\E(?:/…)?`}m, "the README has $path") unless $path eq '/';
}

$node->stop;
done_testing();
