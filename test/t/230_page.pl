# The page at /: how it is served, and that it does in a real Chromium what it is for.
#
# PAGE_PICTURES names a folder that pictures of it are put into.

use strict;
use warnings;

use Browser;
use Digest::SHA;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary'));
my $web = "$ENV{PWD}/web";
my $end = $Promgres::sample_end_ms / 1000;

remote_write($node, sample_series());

# ---- how it is served

my %type = (
	'app.js' => 'text/javascript; charset=utf-8',
	'app.css' => 'text/css; charset=utf-8',
	'icon.svg' => 'image/svg+xml',
	'licences.txt' => 'text/plain; charset=utf-8');

sub request
{
	my ($method, $path, %headers) = @_;
	return HTTP::Tiny->new(timeout => 180)->request($method, gateway_url($node, $path), { headers => \%headers });
}

my $page = request('GET', '/');
is($page->{status}, 200, 'there is a page at /');
is($page->{headers}{'content-type'}, 'text/html; charset=utf-8', 'which is HTML');
like($page->{headers}{'content-security-policy'}, qr/^default-src 'self';/, 'everything in it comes from the server');
unlike($page->{headers}{'content-security-policy'}, qr/unsafe/, 'without exceptions');
is($page->{headers}{'cache-control'}, 'no-cache', 'a browser asks for it each time');
unlike($page->{content}, qr{(?:src|href)="(?:[a-z]+:|/)}, 'addresses within it are relative: a prefix does not matter');
unlike($page->{content}, qr/<script[^>]*>[^<]|<style|\son\w+=|\sstyle=/, 'nothing is written into it');
foreach my $path ('/graph?g0.expr=up', '/query', '/explore', '/status', '/prometheus/graph')
{
	is(request('GET', $path)->{content}, $page->{content}, "it is at $path, too");
}
is(request('GET', '/', 'If-None-Match' => $page->{headers}{etag})->{status}, 304, 'and is not sent twice');

my $size = 0;
foreach my $name (sort keys %type)
{
	my ($address) = $page->{content} =~ m{"(assets/\Q$name\E\?v=[0-9a-f]+)"};
	ok($address, "the page names $name with its hash") or next;
	my $plain = request('GET', "/$address");
	my $packed = request('GET', "/$address", 'Accept-Encoding' => 'br, gzip');

	is($plain->{content}, slurp_file("$web/dist/$name"), "$name is the committed file");
	is($plain->{headers}{'content-type'}, $type{$name}, "$name has its type");
	like($plain->{headers}{'cache-control'}, qr/immutable/, "$name is kept");
	is($packed->{headers}{'content-encoding'}, 'gzip', "$name is sent compressed to who takes it");
	isnt($packed->{headers}{etag}, $plain->{headers}{etag}, "$name has another ETag then");
	is(request('GET', "/assets/$name?v=0")->{headers}{'cache-control'}, 'no-cache', "$name is not kept under the hash of another release");
	is(request('GET', "/$address", 'If-None-Match' => $plain->{headers}{etag})->{status}, 304, "$name is not sent twice");
	my $head = request('HEAD', "/$address");
	is($head->{headers}{'content-length'}, length $plain->{content}, "HEAD of $name tells its length");
	is($head->{content} // '', '', "HEAD of $name sends none of it");
	$size += length $packed->{content};
}
$size += length request('GET', '/', 'Accept-Encoding' => 'gzip')->{content};
ok($size <= 250_000, 'all of it is at most 250 kB compressed');
note("measured: the page is $size bytes compressed, all in");
is(request('GET', "/$_")->{status}, 404, "there is no /$_") foreach ('assets/', 'assets/none.js', 'assets/../app.js', 'graphs');
is(request('POST', '/graph')->{status}, 405, 'the page takes no POST');

# ---- what it is made of

like(slurp_file("$web/dist/licences.txt"), qr/^$_ [0-9.]+: \S/m, "the licence of $_ is shipped")
  foreach ('uplot', '\@prometheus-io/codemirror-promql', '\@codemirror/view');
unlike(slurp_file("$web/package-lock.json"), qr{"resolved"|https?://[^"]*\.tgz}, 'the lock file names no registry');

my %wanted = map { reverse split } split /\n/, slurp_file("$web/dist/sources.sha256");
my %found = map { s{^\Q$web\E/}{}r => Digest::SHA->new(256)->addfile($_)->hexdigest }
  ("$web/build.mjs", "$web/package.json", "$web/package-lock.json", glob "$web/src/*");
is_deeply(\%found, \%wanted, 'the sources have not changed since the bundle was built: make web');

SKIP:
{
	my $copy = "$PostgreSQL::Test::Utils::tmp_check/web";
	my $log = "$PostgreSQL::Test::Utils::log_path/web.log";

	skip 'NODE IS MISSING, so it is not tested that web/dist is made of web/src', 1 if system('command -v node npm >/dev/null') != 0;
	system("mkdir -p $copy && cd $web && cp -R src build.mjs package.json package-lock.json .npmrc $copy");
	skip "NPM COULD NOT FETCH THE LIBRARIES (see $log), so it is not tested that web/dist is made of web/src", 1
	  if system("cd $copy && HOME=$copy timeout 90 npm ci >$log 2>&1") != 0;
	is(system("cd $copy && node build.mjs --out built >>$log 2>&1 && diff -r --exclude='*.gz' built $web/dist >>$log 2>&1"), 0,
		'the committed bundle is that of the sources');
}

# Samples of now, late enough that they still are that when a browser asks for them.
my $now = int(time / 60) * 60;
remote_write($node, map {
	my $i = $_;
	[ { __name__ => 'recent_requests_total', job => 'api', instance => "host$i" },
		map { [ ($now - 3600 + 15 * $_) * 1000, $_ * $i ] } 0 .. 240 ]
} 1 .. 3);

# ---- what the page asks, beyond Prometheus' API

my %range = (query => 'sum by (job) (rate(requests_total[5m]))', start => $end - 600, end => $end, step => 60);
my $told = http_json($node, '/api/v1/explain', { %range, plan => 'true' })->{data};
is($told->{sql} . "\n", $node->safe_psql('postgres', <<"SQL") . "\n", 'explain tells the SQL of prom.to_sql');
SELECT prom.to_sql('$range{query}', to_timestamp($range{start}), to_timestamp($end), '1 min')
SQL
is($told->{nodes}[0]{series}, 1, 'and how many series each node has');
is($told->{series}{matched}, 5, 'and how many were read');
like($told->{plan}, qr/actual time/, 'and the plan, if asked for');
is(http_json($node, '/api/v1/explain', { query => 'requests_total', time => $end })->{data}{plan}, '', 'which is left out otherwise');
is(http_json($node, '/api/v1/explain', { query => 'up +' })->{error}, 'invalid parameter "query": 1:5: parse error: unexpected end of input',
	'errors are those of a query');
is(http_json($node, '/api/v1/explain', { %range, end => $end - 700 })->{errorType}, 'bad_data', 'its steps are checked like those of a query');

my $status = decode_json(http_get($node, '/api/v1/status/promgres')->{content})->{data};
is($status->{ingest}{samples}, $node->safe_psql('postgres', 'SELECT samples FROM prom.stat_ingest'), 'status tells the samples stored');
ok((grep { $_->{name} eq 'prom.series' && $_->{bytes} > 0 } @{ $status->{tables} }), 'and the sizes of tables');
ok((grep { $_->{name} eq 'promgres gateway' } @{ $status->{workers} }), 'and the workers');
is_deeply([ map { "$_->{name}=$_->{value}" } grep { $_->{name} =~ /query_timeout/ } @{ $status->{settings} } ],
	['promgres.query_timeout=2min'], 'and settings');
is($status->{rows}, undef, 'but reads no rows');
my $rows = decode_json(http_get($node, '/api/v1/status/promgres?rows=true')->{content})->{data}{rows};
my $sum = 0;
$sum += $_->{samples} foreach @$rows;
is($sum, $status->{ingest}{samples}, 'unless asked to count them');

# ---- in a browser

my $why_not = Browser::missing();
BAIL_OUT("$why_not: contrib/setup/install.sh test installs it") if $why_not;

# The editor number n, and what is in it.
my $editor = 'const e = document.querySelectorAll(".editor")[arguments[0]].shadowRoot;';
my $done = 'return document.querySelector(".panel").dataset.state === "done"';

sub graph_link
{
	my ($expr, %more) = @_;
	my %parameter = ('g0.expr' => $expr, 'g0.tab' => 0, 'g0.range_input' => '1h', 'g0.end_input' => '2023-11-15 00:00:00', %more);
	return gateway_url($node, '/graph?' . HTTP::Tiny->new->www_form_urlencode(\%parameter));
}

# How many pixels of the graph are of each series' colour, roughly: those that are neither blank nor grey.
my $coloured = <<'JS';
const canvas = document.querySelector('.canvas canvas');
if (!canvas) return 0;
const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
let n = 0;
for (let i = 0; i < data.length; i += 4) {
  if (data[i + 3] > 200 && Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60) n++;
}
return n;
JS
my $legend = 'return [...document.querySelectorAll(".legend .name")].map((e) => e.textContent)';
my $legend_values = 'return [...document.querySelectorAll(".legend li")].map((e) => e.textContent)';

my $browser = Browser->new;

# Take what is offered; what has only just appeared is not taken yet.
sub accept_offer
{
	return wait_for(
		sub {
			$browser->type("\x{E007}");
			return $browser->js("$editor return !e.querySelector('.cm-tooltip-autocomplete')", 0);
		},
		'the completion is taken');
}

# Type a query, with completion.
$browser->open(gateway_url($node, '/'));
ok($browser->wait_js("$editor return e.activeElement?.classList.contains('cm-content')", 0), 'one can type at once');
$browser->type('recent_req');
ok($browser->wait_js("$editor return [...e.querySelectorAll('.cm-completionLabel')].some((x) => x.textContent === 'recent_requests_total')", 0),
	'the name of a metric is offered');
$browser->picture('completion');
is($browser->js("$editor return e.querySelector('.cm-tooltip-autocomplete ul').getAttribute('role')", 0), 'listbox', 'in a list that says it is one');
accept_offer();
is($browser->wait_js("$editor return e.querySelector('.cm-line').textContent", 0),
	'recent_requests_total', 'Enter takes it');
$browser->type('{ins');
ok($browser->wait_js("$editor return [...e.querySelectorAll('.cm-completionLabel')].some((x) => x.textContent === 'instance')", 0),
	'the name of a label is offered');
accept_offer();
$browser->type('="');
ok($browser->wait_js("$editor return [...e.querySelectorAll('.cm-completionLabel')].some((x) => x.textContent === 'host2')", 0), 'and its values');
$browser->type('host2');
ok($browser->wait_js("$editor return !!e.querySelector('.cm-line span[class]')", 0), 'the expression is highlighted');
$browser->control("\x{E007}");
ok($browser->wait_js($done), 'Ctrl-Enter runs the query');
is($browser->js('return document.querySelector("td.value").textContent'), 480, 'the table shows its value');
is($browser->js('return document.querySelectorAll("td.value").length'), 1, 'and no other');
like($browser->url, qr{/graph\?g0\.expr=recent_requests_total%7Binstance%3D%22host2%22%7D&g0\.tab=1}, 'and the address holds the query');

# The line, and the link to it.
$browser->click('[data-tab=graph]');
ok($browser->wait_js($coloured), 'the tab with the graph draws a line');
is_deeply($browser->js($legend), ['recent_requests_total{instance="host2", job="api"}'], 'its legend names the series');
my $link = $browser->url;
like($link, qr/g0\.tab=0/, 'the address says that it is the graph');
$browser->back;
ok($browser->wait_js('return document.querySelector("td.value")?.textContent === "480"'), 'the back button shows the table again');

my $second = Browser->new;
$second->open($link);
ok($second->wait_js($coloured), 'who follows the link sees a line');
is_deeply($second->js($legend), ['recent_requests_total{instance="host2", job="api"}'], 'of the same series');
$second->close;

# A graph of a fixed time: several series, a tooltip, hidden ones, stacked, zoomed.
my $answer = http_json($node, '/api/v1/query_range',
	{ query => 'temperature', start => $end - 3600, end => $end, step => 14 });
$browser->open(graph_link('temperature', 'g0.end_input' => $end));
ok($browser->wait_js($coloured), 'a link in the form of Prometheus shows its graph');
my @series = @{ $answer->{data}{result} };
is_deeply($browser->js($legend_values), [ map {
	my $v = $_->{values}[-1][1];
	"temperature{instance=\"$_->{metric}{instance}\", job=\"app\"}" . (sprintf('%.4g', $v) + 0)
} @series ], 'the legend has the names and last values of the API');
$browser->picture('graph');
my $box = $browser->js('const r = document.querySelector(".u-over").getBoundingClientRect(); return [r.x, r.y, r.width, r.height]');
my $top = $browser->js(<<'JS');
const canvas = document.querySelector('.canvas canvas');
const over = document.querySelector('.u-over').getBoundingClientRect();
const inside = canvas.getBoundingClientRect();
const scale = canvas.width / inside.width;
const x = Math.round((over.x + over.width / 2 - inside.x) * scale);
const { data } = canvas.getContext('2d').getImageData(x, 0, 1, canvas.height);
for (let y = 0; y < canvas.height; y++) {
  const [r, g, b, a] = data.slice(4 * y, 4 * y + 4);
  if (a > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60) return inside.y + y / scale;
}
JS
$browser->hover($box->[0] + $box->[2] / 2, $top);
ok($browser->wait_js('const t = document.querySelector(".tooltip"); return !t.hidden && t.textContent'), 'near a line there is a tooltip');
my $tooltip = $browser->js('return document.querySelector(".tooltip").textContent');
like($tooltip, qr/^2023-11-14 \d\d:\d\d:\d\d UTCtemperature: [\d.]+instance: host\d:9100job: app$/, 'with time, value and labels');
my ($shown) = $tooltip =~ /temperature: ([\d.]+)instance/;
ok((grep { $_->[1] == $shown } map { @{ $_->{values} } } @series), 'and the value is one of the API');
$browser->picture('tooltip');

# With the mouse away: near a line, the others are pale.
sub count_coloured
{
	$browser->hover(300, 5);
	return $browser->js($coloured);
}

my $before = count_coloured();
$browser->click('.legend button');
is($browser->js('return document.querySelector(".legend button").getAttribute("aria-pressed")'), 'false', 'choosing a series in the legend hides it');
cmp_ok(count_coloured(), '<', $before, 'and its line');
$browser->click('.legend button');
ok(abs(count_coloured() - $before) < $before / 20, 'choosing it again shows it');

$browser->click('.controls input[type=checkbox]');
ok($browser->wait_js("const f = () => {" . $coloured =~ s/200/50/r . "}; return f() > 10 * arguments[0]", $before), 'stacked series are areas');
like($browser->url, qr/g0\.display_mode=stacked/, 'the address says so');
$browser->hover($box->[0] + $box->[2] / 2, $box->[1] + $box->[3] - 40);
like($browser->wait_js('const t = document.querySelector(".tooltip"); return !t.hidden && t.textContent'), qr/instance: host1/,
	'in an area the tooltip tells of its series');
$browser->picture('stacked');

$box = $browser->js('const r = document.querySelector(".u-over").getBoundingClientRect(); return [r.x, r.y, r.width, r.height]');
$browser->drag(map { [ $box->[0] + $box->[2] * $_, $box->[1] + 50 ] } 0.25, 0.4, 0.5);
ok($browser->wait_js('return new URL(location).searchParams.get("g0.range_input") !== "1h"'), 'dragging over the graph zooms in');
my ($from, $to) = @{ $browser->js(<<'JS') };
const read = (name) => new URL(location).searchParams.get(`g0.${name}`);
const end = Date.parse(read('end_input').replace(' ', 'T') + 'Z') / 1000;
const [, minutes, seconds] = read('range_input').match(/^(\d+)m(?:([\d]+)s)?/);
return [end - minutes * 60 - (seconds ?? 0), end];
JS
ok(abs($from - ($end - 2700)) < 30 && abs($to - ($end - 1800)) < 30, 'to the time that was dragged over')
  or diag("from $from to $to, end $end");

# The range, by its buttons; a step; several queries.
$browser->open(graph_link('temperature', 'g0.end_input' => $end));
$browser->click('[aria-label="Longer range"]');
ok($browser->wait_js('return location.search.includes("g0.range_input=2h") && document.querySelector(".told").textContent.includes("step 28s")'),
	'a longer range has a longer step');
$browser->js(<<'JS');
const step = [...document.querySelectorAll('.controls .field')].find((f) => f.textContent === 'Step').querySelector('input');
step.value = '5m';
step.dispatchEvent(new Event('change'));
JS
ok($browser->wait_js('return location.search.includes("g0.step_input=5m") && document.querySelector(".told").textContent.includes("step 5m")'),
	'unless one says which');
$browser->open(graph_link('temperature', 'g0.tab' => 1, 'g1.expr' => 'ends', 'g1.tab' => 1, map { ("g$_.moment_input" => $end - 60) } 0, 1));
ok($browser->wait_js('return document.querySelectorAll(".panel").length === 2 && [...document.querySelectorAll(".panel")].every((p) => p.dataset.state === "done")'),
	'a link may hold several queries');
is_deeply($browser->js('return [...document.querySelectorAll(".panel")].map((p) => p.querySelectorAll("td.value").length)'), [ 5, 1 ], 'each with its result');
$browser->click('[aria-label="Remove query 1"]');
ok($browser->wait_js('return location.search.startsWith("?g0.expr=ends") && !location.search.includes("g1.")'), 'one can be removed');

# The table has what the API says.
my %at = ('g0.tab' => 1, 'g0.moment_input' => $end);
foreach my $expr ('latency_bucket', '-special', 'temperature[1m]', 'scalar(vector(3.25))')
{
	my @wanted = map { $_->{value} ? $_->{value}[1] : map { $_->[1] } @{ $_->{values} } }
	  map { ref $_ ? $_ : () } @{ http_json($node, '/api/v1/query', { query => $expr, time => $end })->{data}{result} };
	@wanted = ('3.25') if $expr =~ /^scalar/;
	$browser->open(graph_link($expr, %at));
	$browser->wait_js($done);
	my $found = $browser->js('return [...document.querySelectorAll("td.value")].flatMap((c) => c.querySelector("li") ? [...c.querySelectorAll("li")].map((l) => l.firstChild.textContent) : [c.textContent])');
	is_deeply($found, \@wanted, "the values of $expr are those of the API");
}
$browser->open(graph_link('special', %at));
$browser->wait_js($done);
is_deeply([ sort @{ $browser->js('return [...document.querySelectorAll(".series .string")].map((s) => s.textContent)') } ],
	[ '"denormal"', '"inf"', '"nan"', '"quote \\" backslash \\\\ ' . "\x{1f40e}\"" ], 'values of labels are shown');
$browser->open(graph_link('latency_bucket', %at));
$browser->wait_js($done);
$browser->picture('table');

# A native histogram, as the API tells one: this server has none to tell of.
$browser->js(<<'JS');
const real = window.fetch;
window.fetch = (url, options) => String(url).includes('/api/v1/query') ? Promise.resolve(new Response(JSON.stringify({
  status: 'success', data: { resultType: 'vector', result: [{ metric: { __name__: 'h' }, histogram: [1, {
    count: '7', sum: '18.4', buckets: [[3, '-0.001', '0.001', '2'], [0, '1', '2', '4'], [0, '2', '4', '1']] }] }] } }))) : real(url, options);
JS
$browser->click('.primary');
is($browser->wait_js('return document.querySelector(".histogram summary")?.textContent'), 'count 7, sum 18.4, 3 buckets',
	'a native histogram is summed up');
is_deeply($browser->js('return [...document.querySelectorAll(".histogram tbody tr")].map((r) => r.cells[0].textContent + " " + r.cells[1].textContent)'),
	[ '[-0.001, 0.001] 2', '(1, 2] 4', '(2, 4] 1' ], 'and has its buckets');
$browser->click('.histogram summary');
$browser->picture('histogram');

# Errors and warnings, at their place.
my $broken = "sum(temperature)\n  + avg(\"\x{e9}\") by (job) foo";
my $message = http_json($node, '/api/v1/query', { query => $broken })->{error};
my ($line, $column) = $message =~ /(\d+):(\d+): parse error/;
ok($line == 2, 'an error in the second line') or diag($message);
$browser->open(graph_link($broken, 'g0.tab' => 1));
is($browser->wait_js('return document.querySelector("[role=alert]")?.textContent'), "bad_data: $message", 'what is wrong is told');
my $marked = $browser->wait_js("$editor const m = e.querySelector('.cm-lintRange-error, .cm-lintPoint-error');"
	  . 'return m && [[...e.querySelectorAll(".cm-line")].indexOf(m.closest(".cm-line")) + 1, m.textContent,'
	  . ' (() => { const r = document.createRange(); r.setStart(m.closest(".cm-line"), 0); r.setEndBefore(m); return new TextEncoder().encode(r.toString()).length + 1; })()]', 0);
is($marked->[0], $line, 'the mark is in its line');
is($marked->[2], $column, 'at its column, which counts bytes');
is($browser->js('return document.activeElement.shadowRoot?.activeElement?.getAttribute("aria-describedby") ?? document.querySelector(".editor").shadowRoot.querySelector(".cm-content").getAttribute("aria-describedby")'),
	'panel-0-message', 'and the input refers to the message');
$browser->picture('error');
$browser->js("$editor e.querySelector('.cm-content').focus()", 0);
$browser->type('x');
ok($browser->wait_js("$editor return !e.querySelector('.cm-lintRange-error, .cm-lintPoint-error')", 0), 'the mark goes when one types');
$browser->open(graph_link('rate(temperature[5m]) > bool quantile(2, temperature)', %at));
ok($browser->wait_js('return document.querySelector(".message.warning")?.textContent.startsWith("PromQL warning: quantile value")'), 'warnings are shown');
ok($browser->wait_js('return document.querySelector(".message.info")?.textContent.startsWith("PromQL info: metric might not be a counter")'), 'and infos');

# SQL and plan.
$browser->open(graph_link($range{query}, 'g0.tab' => 'sql', 'g0.end_input' => $end, 'g0.range_input' => '10m', 'g0.step_input' => '1m'));
ok($browser->wait_js($done), 'there is a tab for the SQL');
is($browser->js('return document.querySelector("pre.sql").textContent'), $told->{sql}, 'with the SQL of the query');
like($browser->js('return document.querySelector(".facts").textContent'), qr/Series: 5 matched/, 'and what it read');
$browser->js('Object.defineProperty(navigator, "clipboard", { value: undefined })');
$browser->click('.copy');
is($browser->js('return getSelection().toString().trim()'), $told->{sql}, 'which is selected where there is no clipboard to copy it to');
is($browser->js('return document.querySelector("pre.plan")'), undef, 'the plan is not there');
$browser->click('.controls input[type=checkbox]');
like($browser->wait_js('return document.querySelector("pre.plan")?.textContent'), qr/actual time/, 'until asked for');
$browser->picture('sql');

# The explorer.
$browser->open(gateway_url($node, '/explore'));
ok($browser->wait_js('return document.querySelector("main").dataset.state === "done"'), 'the explorer is there');
is_deeply($browser->js('return [...document.querySelectorAll(".metrics a")].map((a) => a.textContent)'),
	[qw(ends latency_bucket recent_requests_total requests_total special temperature)], 'with all metrics');
is_deeply($browser->js('return [...document.querySelectorAll(".chips.labels button")].map((b) => b.firstChild.textContent)'),
	http_json($node, '/api/v1/labels', {})->{data}, 'and all labels');
$browser->picture('explorer');
$browser->click('aside input');
$browser->type('latency');
is_deeply($browser->wait_js('const m = [...document.querySelectorAll(".metrics a")].map((a) => a.textContent); return m.length === 1 && m'),
	['latency_bucket'], 'which can be filtered');
$browser->click('.metrics a');
like($browser->wait_js('return document.querySelector(".detail .told strong")?.textContent'), qr/^20 series$/, 'a metric has its series counted');
is_deeply($browser->js('return [...document.querySelectorAll("[data-label=le] tbody tr")].map((r) => r.cells[0].textContent + " " + r.cells[1].textContent)'),
	[ '+Inf 5', '0.1 5', '1 5', '10 5' ], 'by the values of each label');
like($browser->url, qr/selector=latency_bucket$/, 'and the address holds it');
$browser->picture('metric');
$browser->click('[data-label=le] tbody tr:nth-child(3) a');
like($browser->wait_js('return document.querySelector(".detail .told strong")?.textContent === "5 series" && location.search'),
	qr/selector=latency_bucket%7Ble%3D%221%22%7D$/, 'a value narrows them down');
$browser->click('.serieslist a');
ok($browser->wait_js('return location.pathname.endsWith("/graph") && document.querySelector(".panel")?.dataset.state === "done"'), 'a series can be queried');

# Figures of cardinality, and what metrics mean: from the server, or, if it tells none, as its API would.
$browser->js(<<'JS');
const real = window.fetch;
const told = {
  'status/tsdb': { headStats: { numSeries: 39, numLabelPairs: 21 }, memoryInBytesByLabelName: [],
    seriesCountByMetricName: [{ name: 'latency_bucket', value: 20 }], labelValueCountByLabelName: [{ name: 'instance', value: 8 }],
    seriesCountByLabelValuePair: [{ name: 'job=app', value: 31 }] },
  metadata: { latency: [{ type: 'histogram', help: 'How long it takes', unit: '' }] },
};
window.fetch = async (url, options) => {
  const answer = await real(url, options);
  const name = Object.keys(told).find((path) => String(url).includes(`/api/v1/${path}`));
  const empty = name && (answer.status === 404 || (await answer.clone().text()) === '{"status":"success","data":{}}');
  return empty ? new Response(JSON.stringify({ status: 'success', data: told[name] })) : answer;
};
JS
$browser->click('nav a[data-view=explore]');
ok($browser->wait_js('return document.querySelector("main").dataset.state === "done" && document.querySelectorAll(".columns table").length === 3'),
	'cardinality is told by metric, label and pair');
like($browser->js('return document.querySelector(".columns tbody tr").textContent'), qr/^latency_bucket20$/, 'the largest first');
like($browser->js('return [...document.querySelectorAll(".metrics li")].map((l) => l.textContent).find((t) => t.startsWith("latency"))'),
	qr/latency_bucket histogramHow long it takes/, 'and the type and help of a metric');
$browser->click('.chips.labels li:nth-child(3) button');
like($browser->wait_js('return document.querySelector(".values .chips")?.textContent'), qr/^api.*app 31$/, 'a label shows its values, with counts');
$browser->picture('cardinality');

# Status.
$browser->click('nav a[data-view=status]');
ok($browser->wait_js('return document.querySelector("main").dataset.state === "done"'), 'the status is there');
my $stored = $browser->js('return [...document.querySelectorAll(".tile")].find((t) => t.textContent.startsWith("Samples stored")).querySelector("dd").firstChild.textContent');
is($stored =~ s/,//gr, $status->{ingest}{samples}, 'it tells the samples stored');
$browser->picture('status');
remote_write($node, [ { __name__ => 'more' }, map { [ ($now + $_) * 1000, 1 ] } 1 .. 50 ]);
ok($browser->wait_js('return [...document.querySelectorAll(".tile")].find((t) => t.textContent.startsWith("Samples stored")).querySelector("dd").firstChild.textContent !== arguments[0]', $stored),
	'and keeps up');

# Keyboard: everything is reached, and says what it is.
$browser->open(graph_link('temperature', 'g0.end_input' => $end));
$browser->wait_js($done);
$browser->js('document.activeElement.blur()');
my @visited;
foreach (1 .. 18)
{
	$browser->type("\x{E004}");
	push @visited, $browser->js(<<'JS');
let e = document.activeElement;
while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
const label = e.labels?.[0]?.textContent;
return e.getAttribute('aria-label') ?? label ?? e.textContent.trim();
JS
}
is_deeply(\@visited, [ 'Skip to content', 'Query', 'Explore', 'Status', 'Theme: auto', 'PromQL expression of query 1', 'Execute', 'Graph',
	'Shorter range', 'Range', 'Longer range', 'Earlier', 'End (UTC)', 'Later', 'Step', ' Stacked',
	map { $browser->js('return document.querySelectorAll(".legend button")[arguments[0]].textContent', $_) } 0, 1 ],
	'the tab key goes through all of it in order, and everything has a name');
$browser->js('document.querySelector("[data-tab=graph]").focus()');
$browser->type("\x{E014}");
ok($browser->wait_js('return document.querySelector("[data-tab=sql]").getAttribute("aria-selected") === "true" && document.querySelector("pre.sql")'),
	'arrows go from tab to tab');

# Light and dark.
my $background = 'return getComputedStyle(document.body).backgroundColor.match(/\d+/g).reduce((a, b) => a + Number(b), 0)';
cmp_ok($browser->js($background), '>', 600, 'the page is light');
$browser->click('#theme') foreach 1 .. 2;
is($browser->js('return document.querySelector("#theme").textContent'), 'Theme: dark', 'until one chooses dark');
cmp_ok($browser->js($background), '<', 150, 'then it is dark');
$browser->open(graph_link('temperature', 'g0.end_input' => $end));
ok($browser->wait_js($coloured), 'also after loading it again');
cmp_ok($browser->js($background), '<', 150, 'which is remembered');
$browser->picture('graph-dark');

is_deeply([ grep { !/status of 4\d\d|willReadFrequently/ } $browser->complaints ], [], 'the browser complains of nothing, of the Content-Security-Policy least of all');
$browser->close;

$browser = Browser->new(dark => 1);
$browser->open(gateway_url($node, '/graph?g0.expr=latency_bucket&g0.tab=1&g0.moment_input=' . $end));
$browser->wait_js($done);
cmp_ok($browser->js($background), '<', 150, 'who prefers dark gets dark');
$browser->picture('table-dark');
$browser->open(gateway_url($node, '/explore?selector=latency_bucket'));
$browser->wait_js('return document.querySelector("main").dataset.state === "done"');
$browser->picture('metric-dark');
$browser->open(gateway_url($node, '/status'));
$browser->wait_js('return document.querySelector("main").dataset.state === "done"');
$browser->picture('status-dark');
$browser->close;

# A page small as a telephone does not scroll sideways.
$browser = Browser->new(width => 500, height => 900);
foreach my $path ('/graph?g0.expr=latency_bucket&g0.tab=1&g0.moment_input=' . $end, '/explore?selector=latency_bucket', '/status')
{
	$browser->open(gateway_url($node, $path));
	$browser->wait_js('return document.querySelector(".panel")?.dataset.state === "done" || document.querySelector("main").dataset.state === "done"');
	cmp_ok($browser->js('return document.documentElement.scrollWidth - document.documentElement.clientWidth'), '<=', 0, "$path fits a small screen")
	  or $browser->picture('small');
}
$browser->close;

$node->stop;
done_testing();
