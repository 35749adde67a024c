-- Numbers in answers over HTTP: the shortest decimal that reads back, plain from 1e-6 up to 1e21, as Go prints it.

SELECT v::text, prom._api_value(v)
  FROM unnest('{0,-0,1,-1,10,100,0.5,-0.25,0.1,123.456,1e-3,0.00099999999999999,1.5e-4,1e-4,9.999e-5,1e-5,1.25e-6,1e-6,9.99e-7,-1e-7,
	99999999999999,99999999999999.98,1e14,100000000000000.02,999999999999999,1e15,1.5e15,1e16,9007199254740993,123456789012345680,1e20,
	999999999999999900000,1e21,1.5e21,-1e22,5e-324,2.2250738585072014e-308,1.7976931348623157e308,NaN,Infinity,-Infinity}'::float8[]) v;
-- all read back, and have an exponent where Go has one
SELECT count(*), count(*) FILTER (WHERE trim(both '"' FROM prom._api_value(v))::float8 IS DISTINCT FROM v) AS others,
       count(*) FILTER (WHERE (trim(both '"' FROM prom._api_value(v)) ~ 'e') <> (abs(v) < 1e-6 OR abs(v) >= 1e21)) AS misplaced,
       count(*) FILTER (WHERE trim(both '"' FROM prom._api_value(v)) !~ '^-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$' AND abs(v) BETWEEN 1e-6 AND 9e20) AS untidy
  FROM generate_series(-12, 25) power, generate_series(1, 40) i, (VALUES (1), (-1)) sign(s),
       LATERAL (SELECT s * (i * 7919 % 997 + i / 7.0)::float8 * 10::float8 ^ power AS v) x;
