# Parameters of the query API: what they may be, and what is said of those that may not.

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary'));
my $t = 1_700_000_000;
remote_write($node, map { [ { __name__ => 'm', i => $_, 'with.dot' => 'x' }, [ $t * 1000 + 50, $_ / 4 ] ] } 0 .. 3);

sub get
{
	my ($path) = @_;
	my $answer = http_get($node, "/api/v1/$path");
	my $json = eval { decode_json($answer->{content}) } // {};
	return ($answer->{status}, $json);
}

# A request that is refused: 400, bad_data, and the text.
sub bad
{
	my ($path, $text) = @_;
	my ($status, $json) = get($path);
	is("$status $json->{errorType}: $json->{error}", "400 bad_data: $text", $path);
	return;
}

bad('query?query=m&limit=-1', 'invalid parameter "limit": limit must be non-negative');
bad('query?query=m&limit=x', 'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax');
bad('query?query=m&limit=x&time=y', 'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax');
bad("query?query=m&time=$_",
	qq{invalid parameter "time": invalid time value for 'time': cannot parse "$_" to a valid timestamp})
  foreach ('NaN', 'Inf', 'soon', '2023-02-30T00:00:00Z', '2023-01-01', '0x10', '1_0');
bad('query?query=m&timeout=x', 'invalid parameter "timeout": cannot parse "x" to a valid duration');
bad('query?query=m&lookback_delta=x', 'error parsing lookback delta duration: cannot parse "x" to a valid duration');
bad('query?query=%ff', 'invalid parameter "query": invalid UTF-8');
bad('query?query=m%00', 'malformed parameters: zero byte at byte 7');
bad('query?query=%4', 'malformed parameters: malformed percent escape at byte 6');

my $range = 'query_range?query=m';
bad($range, 'invalid parameter "start": cannot parse "" to a valid timestamp');
bad("$range&start=1", 'invalid parameter "end": cannot parse "" to a valid timestamp');
bad("$range&start=NaN&end=1&step=1", 'invalid parameter "start": cannot parse "NaN" to a valid timestamp');
bad("$range&start=2&end=1&step=1", 'invalid parameter "end": end timestamp must not be before start time');
bad("$range&start=1&end=2&step=$_",
	'invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer')
  foreach (0, -1, '0s', '0.0001');
bad("$range&start=1&end=2&step=" . s/ /%20/r, qq{invalid parameter "step": cannot parse "$_" to a valid duration})
  foreach ('', 'NaN', '1m1h', '1h1h', '-1h', '0x10', '1 h', 'h', '1x');
bad("$range&start=1&end=2&step=1e10", 'invalid parameter "step": cannot parse "1e10" to a valid duration. It overflows int64');
my $points = 'exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)';
bad("$range&start=0&end=11001&step=1", $points);
bad("$range&start=-1e99&end=1e99&step=1", $points);

bad('series', 'no match[] parameter provided');
bad('series?match[]={i=""}', 'invalid parameter "match[]": match[] must contain at least one non-empty matcher');
bad('labels?start=x', q{invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp});
bad('label/%ff/values', 'invalid label name: "\xff"');
bad('label//values', 'invalid label name: ""');

# Errors of PromQL.
my ($status, $json) = get('query?query=sum(');
is("$status $json->{errorType}", '400 bad_data', 'PromQL that does not parse');
like($json->{error}, qr/^invalid parameter "query": \d+:\d+: parse error: /, 'has its place');
bad('query?query=nosuch(m)', 'invalid parameter "query": 1:1: parse error: unknown function with name "nosuch"');
($status, $json) = get("query?time=$t.05&query=m%2Bon()m");
is("$status $json->{errorType}", '422 execution', 'a failure of execution');

# Values.
sub is_json
{
	my ($path, $data, $what) = @_;
	my $answer = http_get($node, "/api/v1/$path");
	is($answer->{content}, $data, $what // $path);
	return;
}

is_json("query?query=m{i='3'}&time=$t.05",
	qq({"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"m","i":"3","with.dot":"x"},"value":[$t.050,"0.75"]}]}}),
	'a vector');
is_json("query?query=1/3&time=2023-11-14T22:13:20Z",
	qq({"status":"success","data":{"resultType":"scalar","result":[$t,"0.3333333333333333"]}}), 'a scalar');
is_json("query?query='a%22%5C%5C'&time=$t",
	qq({"status":"success","data":{"resultType":"string","result":[$t,"a\\"\\\\"]}}), 'a string');
is_json("query?query=m{i='1'}[1m]&time=@{[$t + 1]}",
	qq({"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"m","i":"1","with.dot":"x"},"values":[[$t.050,"0.25"]]}]}}),
	'a range vector');
is_json("query_range?query=vector(1)&start=$t&end=@{[$t + 2]}&step=1s",
	qq({"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[$t,"1"],[@{[$t + 1]},"1"],[@{[$t + 2]},"1"]]}]}}),
	'a matrix');
is_json('query?query=nothing', '{"status":"success","data":{"resultType":"vector","result":[]}}', 'nothing is []');
foreach ([ '1e-7', '1e-07' ], [ '1e-6', '0.000001' ], [ '1e20', '100000000000000000000' ], [ '1e21', '1e+21' ],
	[ '1.5e300', '1.5e+300' ], [ '-0', '-0' ], [ '0/0', 'NaN' ], [ '1/0', '+Inf' ], [ '-1/0', '-Inf' ],
	[ '123456789.125', '123456789.125' ], [ '5e-324', '5e-324' ])
{
	my ($expr, $value) = @$_;
	(undef, $json) = get("query?time=1&query=$expr");
	is($json->{data}{result}[1], $value, "$expr is written $value");
}
(undef, $json) = get('query?query=time()&time=0.0005');
is($json->{data}{result}[1], '0.001', 'times are rounded to milliseconds, halves away from zero');
(undef, $json) = get('query?query=time()&time=1e30');
is($json->{status}, 'success', 'a time beyond all times is clamped');
(undef, $json) = get('query?query=time()&time=-292273086-05-16T16:47:06Z');
is($json->{status}, 'success', 'the least time has a name');

# Limits, forms, aliases.
($status, $json) = get("query?query=m&time=$t.05&limit=2");
is(scalar @{ $json->{data}{result} }, 2, 'limit cuts');
is_deeply($json->{warnings}, ['results truncated due to limit'], 'and says so');
(undef, $json) = get("query?query=m&time=$t.05&limit=4");
is($json->{warnings}, undef, 'but only when it does');

my $form = http_json($node, '/api/v1/query?query=wrong(&time=0', { query => 'm', time => "$t.05" });
is(scalar @{ $form->{data}{result} }, 4, 'the body wins over the URL');
my $answer = http_post($node, "/api/v1/query?query=m&time=$t.05", '', 'Content-Type' => 'application/json');
is($answer->{status}, 200, 'parameters in the URL are read whatever the body is');

# Metadata.
is_json('labels', '{"status":"success","data":["__name__","i","with.dot"]}');
is_json('labels?match[]=nothing', '{"status":"success","data":[]}');
is_json('label/i/values', '{"status":"success","data":["0","1","2","3"]}');
is_json('label/i/values?match[]=m{i="1"}&match[]=m{i="3"}', '{"status":"success","data":["1","3"]}');
is_json('label/i/values?limit=1', '{"status":"success","data":["0"],"warnings":["results truncated due to limit"]}');
is_json('label/with%2Edot/values', '{"status":"success","data":["x"]}');
is_json('label/U__with_2e_dot/values', '{"status":"success","data":["x"]}');
is_json('label/U__with_2/values', '{"status":"success","data":[]}');
is_json('series?match[]=m{i="2"}', '{"status":"success","data":[{"__name__":"m","i":"2","with.dot":"x"}]}');

# The text of an expression: its tree, and its canonical form
is(http_json($node, '/api/v1/format_query', [ query => 'sum by(i)(m)/2' ])->{data}, 'sum by (i) (m) / 2', 'format_query');
is_json('format_query?query=-"a"', '{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\""}');
$answer = http_json($node, '/api/v1/parse_query', [ query => 'm{i=~"\\"x"} > bool 1' ]);
is(JSON::PP->new->canonical->encode($answer),
	'{"data":{"bool":true,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"m"},{"name":"i","type":"=~","value":"\\"x"}],'
	  . '"name":"m","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},'
	  . '"matching":null,"op":">","rhs":{"type":"numberLiteral","val":"1"},"type":"binaryExpr"},"status":"success"}', 'parse_query');
like(http_get($node, '/api/v1/parse_query')->{content}, qr/"errorType":"bad_data","error":"invalid parameter \\"query\\": .*parse error: no expression/,
	'an expression must be there');

$answer = http_get($node, '/api/v1/status/buildinfo');
is(join(' ', sort keys %{ decode_json($answer->{content})->{data} }),
	'branch buildDate buildUser goVersion revision version', 'buildinfo');
$answer = HTTP::Tiny->new->get(gateway_url($node, '/api/v1/labels'), { headers => { Origin => 'http://a' } });
is($answer->{headers}{'access-control-allow-origin'}, '*', 'any origin may ask');
is($answer->{headers}{vary}, 'Origin, Accept-Encoding', 'and caches know');

$node->stop;
done_testing();
