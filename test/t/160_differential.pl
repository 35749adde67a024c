# Random queries over random samples: promgres answers as a real Prometheus does.  DIFFERENTIAL_SEED chooses
# other samples and queries than those of every run.

use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

foreach my $program (qw(prometheus python3))
{
	plan skip_all => "$program is not installed"
	  unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $port = free_port();
my $url = "http://127.0.0.1:$port";
my $node = start_node(new_node('primary', 'promgres.promql_experimental' => 'on'));

append_to_file("$tmp/prometheus.yml", "global:\n  scrape_interval: 1h\n");
my $prometheus = spawn('prometheus', 'prometheus', "--config.file=$tmp/prometheus.yml",
	"--storage.tsdb.path=$tmp/tsdb", '--storage.tsdb.retention.time=100y',
	"--web.listen-address=127.0.0.1:$port", '--web.enable-remote-write-receiver',
	'--enable-feature=native-histograms');
ok(wait_for(sub { HTTP::Tiny->new->get("$url/-/ready")->{status} == 200 }, 'Prometheus is ready'),
	'Prometheus is ready');

# First from fresh rows and whatever the maintenance has merged, then all from warm ones.
my $seed = $ENV{DIFFERENTIAL_SEED} // 20231114;
foreach my $run ([ 'as written', 0 ], [ 'merged', 1 ])
{
	my ($what, $shift) = @$run;
	my $output = '';
	my $equal = IPC::Run::run(
		[ 'python3', "$FindBin::Bin/../tools/differential.py", '--prometheus' => $url,
			'--promgres' => gateway_url($node), '--seed' => $seed + $shift, '--shift' => $shift,
			'--queries' => 600, '--native', $shift ? ('--between' => "psql -Xqc 'CALL prom.merge()'") : () ],
		'>' => \$output, '2>&1',
		init => sub { @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres') });
	($equal ? \&note : \&diag)->($output);
	ok($equal, "$what: all random queries have the same answer from both");
}

end_program($prometheus);
$node->stop;
done_testing();
