# Browser.pm
#	  A real Chromium, headless, driven through WebDriver (chromedriver, JSON over HTTP).
#
# Each Browser has a fresh profile, which goes when it is closed.  The page's editors live in shadow
# roots, so elements are mostly found by JavaScript: js() runs the body of a function in the page.
package Browser;

use strict;
use warnings;

use File::Temp ();
use HTTP::Tiny;
use JSON::PP;
use MIME::Base64 ();
use PostgreSQL::Test::Utils;
use Promgres;

my $driver_port;
my %open;    # by session; all that have not been closed

# Can there be one here?
sub missing
{
	foreach my $program (qw(chromium chromedriver))
	{
		return "no $program" unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
	}
	return undef;
}

sub start_driver
{
	return if defined $driver_port;
	$driver_port = free_port();
	spawn('chromedriver', 'chromedriver', "--port=$driver_port", '--log-level=SEVERE');
	wait_for(sub { (raw('GET', '/status')->{value} // {})->{ready} }, 'chromedriver is ready')
	  or die "chromedriver does not start\n";
	return;
}

sub raw
{
	my ($method, $path, $body) = @_;
	my $answer = HTTP::Tiny->new(timeout => $PostgreSQL::Test::Utils::timeout_default)->request($method, "http://127.0.0.1:$driver_port$path",
		defined $body ? { content => encode_json($body), headers => { 'Content-Type' => 'application/json' } } : {});
	return decode_json($answer->{content});
}

# new Browser(dark => 1, width => 1280, height => 900)
sub new
{
	my ($class, %option) = @_;
	my $profile = File::Temp->newdir(TMPDIR => 1);
	my ($width, $height) = ($option{width} // 1280, $option{height} // 900);

	start_driver();
	my @arguments = (
		qw(--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run
		  --disable-background-networking --disable-component-update --disable-sync --lang=en),
		"--user-data-dir=$profile", "--window-size=$width,$height");
	push @arguments, '--blink-settings=preferredColorScheme=0' if $option{dark};
	my $answer = raw('POST', '/session', { capabilities => { alwaysMatch => {
		browserName => 'chrome',
		'goog:loggingPrefs' => { browser => 'ALL' },
		'goog:chromeOptions' => { args => \@arguments },
	} } });
	die 'no browser: ' . encode_json($answer) . "\n" unless $answer->{value}{sessionId};
	my $self = bless { session => "/session/$answer->{value}{sessionId}", profile => $profile }, $class;
	$open{ $self->{session} } = $self;
	return $self;
}

sub ask
{
	my ($self, $method, $path, $body) = @_;
	my $answer = raw($method, "$self->{session}$path", $body);

	die "$method $path: $answer->{value}{error}: $answer->{value}{message}\n"
	  if ref $answer->{value} eq 'HASH' && defined $answer->{value}{error};
	return $answer->{value};
}

sub open
{
	my ($self, $url) = @_;
	return $self->ask('POST', '/url', { url => $url });
}

sub url { return $_[0]->ask('GET', '/url') }
sub back { return $_[0]->ask('POST', '/back', {}) }

# The value that the body of a JavaScript function returns.
sub js
{
	my ($self, $body, @arguments) = @_;
	return $self->ask('POST', '/execute/sync', { script => $body, args => \@arguments });
}

# Wait until JavaScript says something true; that.
sub wait_js
{
	my ($self, $body, @arguments) = @_;
	my $value;

	wait_for(sub { $value = $self->js($body, @arguments) }, $body) or return undef;
	return $value;
}

# The first element of a CSS selector, as WebDriver knows it.
sub element
{
	my ($self, $css) = @_;
	return $self->wait_js('return document.querySelector(arguments[0])', $css);
}

sub click
{
	my ($self, $css) = @_;
	my ($id) = values %{ $self->element($css) };
	return $self->ask('POST', "/element/$id/click", {});
}

# Keys into what has the focus, one after the other, as a hand would.
sub type
{
	my ($self, $text) = @_;
	return $self->ask('POST', '/actions', { actions => [ { type => 'key', id => 'keyboard', actions =>
		[ map { ({ type => 'keyDown', value => $_ }, { type => 'keyUp', value => $_ }) } split //, $text ] } ] });
}

# A key with Control.
sub control
{
	my ($self, $key) = @_;
	return $self->ask('POST', '/actions', { actions => [ { type => 'key', id => 'keyboard', actions => [
		{ type => 'keyDown', value => "\x{E009}" }, { type => 'keyDown', value => $key },
		{ type => 'keyUp', value => $key }, { type => 'keyUp', value => "\x{E009}" } ] } ] });
}

# The mouse: [x, y] of the viewport, pressed at the first and let go at the last, moved over all of them.
sub drag
{
	my ($self, @points) = @_;
	my @moves = map { { type => 'pointerMove', duration => 50, x => int $_->[0], y => int $_->[1] } } @points;

	return $self->ask('POST', '/actions', { actions => [ { type => 'pointer', id => 'mouse', actions => [
		$moves[0], { type => 'pointerDown', button => 0 }, @moves[ 1 .. $#moves ], { type => 'pointerUp', button => 0 } ] } ] });
}

sub hover
{
	my ($self, $x, $y) = @_;
	return $self->ask('POST', '/actions', { actions => [ { type => 'pointer', id => 'mouse', actions => [
		{ type => 'pointerMove', duration => 50, x => int $x - 5, y => int $y },
		{ type => 'pointerMove', duration => 50, x => int $x, y => int $y } ] } ] });
}

# What the browser has complained of since the last call.
sub complaints
{
	my ($self) = @_;
	return map { $_->{message} } @{ $self->ask('POST', '/se/log', { type => 'browser' }) };
}

# A picture of the window, if the environment names a folder for them.
sub picture
{
	my ($self, $name) = @_;
	my $folder = $ENV{PAGE_PICTURES} or return;

	CORE::open(my $file, '>:raw', "$folder/$name.png") or die "$folder/$name.png: $!\n";
	print $file MIME::Base64::decode($self->ask('GET', '/screenshot'));
	close $file or die "$folder/$name.png: $!\n";
	return;
}

sub close
{
	my ($self) = @_;

	delete $open{ $self->{session} };
	return $self->ask('DELETE', '');
}

# A test that dies leaves no browser behind.  Runs ahead of the END of Promgres, which ends the driver.
END
{
	my $status = $?;
	eval { $_->close } foreach values %open;
	$? = $status;
}

1;
