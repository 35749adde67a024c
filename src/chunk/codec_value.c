/*
 * codec_value.c
 *	  The values of one series: any float64 bit patterns, given back bit for bit.
 *
 * Most scraped values were printed as decimals, so a column is first tried as integers m with
 * value = m / 10^e, one e for the column.  Sums of decimals miss that by a few units in the last
 * place: a second integer column tells by how many.  What is neither goes as its bits, mapped to
 * integers of the same order.  Every value is verified while encoding with the very expression of the
 * decoder, comparing bits; m < 2^53 and e <= 18 make that one correctly rounded division.
 *
 * Fresh columns are one control byte per value, and what it says follows.
 */
#include "c.h"

#include "chunk/codec.h"

/* first byte of a column: kind << 5 | e */
#define VALUE_DECIMAL		0
#define VALUE_PATCHED		1
#define VALUE_ULP			2
#define VALUE_ORDERED		4
#define VALUE_CONST			5
#define VALUE_SHIFT			5
#define MAX_EXPONENT		18

/* control byte of a fresh value: e << 4 | bytes of m, or one of these */
#define FRESH_SAME			0xF0	/* as the value before */
#define FRESH_SPECIAL		0xF0	/* + number of a special value */
#define FRESH_RAW			0xF8
#define FRESH_MAX_EXPONENT	14

/* A trial of "decimal and last places" looks at this many values. */
#define TRIAL				64

/* Values that no decimal tells; 0 stands for any other, 8 bytes follow it. */
static const uint64 special_bits[] = {
	0,
	UINT64CONST(0x7FF0000000000002),	/* stale */
	UINT64CONST(0x7FF8000000000001),	/* NaN, as Prometheus writes it */
	UINT64CONST(0x7FF0000000000000),	/* +Inf */
	UINT64CONST(0xFFF0000000000000),	/* -Inf */
	UINT64CONST(0x8000000000000000),	/* -0.0 */
};

static const double power10[MAX_EXPONENT + 1] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18
};

#define TWO53	9007199254740992.0

static inline uint64
double_bits(double v)
{
	uint64		u;

	memcpy(&u, &v, sizeof(u));
	return u;
}

static inline double
bits_double(uint64 u)
{
	double		v;

	memcpy(&v, &u, sizeof(v));
	return v;
}

/* What a decimal means.  The only place that says so, for encoder and decoder. */
static inline uint64
decimal_bits(int64 m, int e)
{
	return double_bits(e == 0 ? (double) m : (double) m / power10[e]);
}

/* Bits as integers that have the order of the numbers. */
static inline uint64
ordered(uint64 bits)
{
	return bits ^ (bits >> 63 ? ~UINT64CONST(0) : UINT64CONST(1) << 63);
}

static inline uint64
unordered(uint64 o)
{
	return o ^ (o >> 63 ? UINT64CONST(1) << 63 : ~UINT64CONST(0));
}

static inline int
special_of(uint64 bits)
{
	/* none of them has another exponent, but -0.0 */
	if (likely(bits << 1 < UINT64CONST(0x7FF0000000000000) << 1 && bits << 1 != 0))
		return 0;
	for (int s = 1; s < (int) lengthof(special_bits); s++)
		if (bits == special_bits[s])
			return s;
	return 0;
}

/* The integer nearest to v * 10^e; false if it is not safely below 2^53. */
static inline bool
nearest(double v, int e, int64 *m)
{
	double		t = v * power10[e];

	if (!(t < TWO53 && t > -TWO53))
		return false;
	/* from 2^52 on t is an integer, and half a unit would round it up */
	if (t < TWO53 / 2 && t > -TWO53 / 2)
		t += t < 0 ? -0.5 : 0.5;
	*m = (int64) t;
	return true;
}

/* True if m / 10^e is exactly this value. */
static inline bool
decimal_at(uint64 bits, int e, int64 *m)
{
	return nearest(bits_double(bits), e, m) && decimal_bits(*m, e) == bits;
}

/*
 * The least exponent, from e to max, at which a value is a decimal of at most 15 digits: more digits
 * fit any double, which tells nothing.  -1 if there is none.
 */
static int
decimal_exponent(uint64 bits, int e, int max, int64 *m)
{
	double		v = bits_double(bits);

	for (; e <= max; e++)
	{
		double		t = v * power10[e];
		double		off;

		if (e > 0 && !(t < 1e15 && t > -1e15))
			return -1;
		if (!nearest(v, e, m))
			return -1;
		/* most are so far off that the division can be spared */
		off = t - (double) *m;
		if (off < 0.01 && off > -0.01 && decimal_bits(*m, e) == bits)
			return e;
	}
	return -1;
}

/* ---- encoding ---- */

static inline uint8
value_head(int kind, int e)
{
	return (uint8) (kind << VALUE_SHIFT | e);
}

/* The exponent that suits the most values; *odd is how many values it does not suit. */
static int
column_exponent(const uint64 *bits, int n, int *odd)
{
	int			e = 0;
	int64		m;

	*odd = 0;
	for (int i = 0; i < n; i++)
	{
		int			found;

		if (i > 0 && bits[i] == bits[i - 1])
			continue;
		if (decimal_at(bits[i], e, &m))
			continue;
		if (special_of(bits[i]))
			continue;
		found = decimal_exponent(bits[i], e, MAX_EXPONENT, &m);
		if (found >= 0)
			e = found;
		else if (++*odd >= TRIAL && *odd > i / 2)
		{
			*odd = n;
			break;
		}
	}
	return e;
}

/* A column of any number of equal values. */
static uint8 *
encode_constant(uint8 *out, uint64 bits)
{
	int64		m;
	uint64		x;
	int			e = decimal_exponent(bits, 0, MAX_EXPONENT, &m);

	if (e < 0)
	{
		*out++ = value_head(VALUE_CONST, 0);
		return prom_put_u64le(out, bits);
	}
	*out++ = value_head(VALUE_DECIMAL, e);
	x = (uint64) m;
	return prom_int_encode(out, &x, 1);
}

/*
 * Decimals with exceptions.  Where a value is no decimal m is filled with what is smooth.  *raw is how
 * many exceptions are not among the special values.
 */
static uint8 *
encode_decimal(uint8 *out, const uint64 *bits, int n, int e, uint64 *m, int *raw)
{
	uint8	   *start = out;
	int			odd = 0;
	int			last = -1;
	uint8	   *p;

	*raw = 0;
	*out++ = value_head(VALUE_DECIMAL, e);
	for (int i = 0; i < n; i++)
	{
		int64		found;

		if (decimal_at(bits[i], e, &found))
		{
			/* values before the first decimal are as smooth as this one */
			if (odd == i)
				for (int j = 0; j < i; j++)
					m[j] = (uint64) found;
			m[i] = (uint64) found;
		}
		else
		{
			odd++;
			m[i] = i > 0 ? m[i - 1] : 0;
		}
	}
	if (odd == 0)
		return prom_int_encode(out, m, n);

	*start = value_head(VALUE_PATCHED, e);
	p = prom_put_varint(out, odd);
	out = prom_int_encode(p, m, n);
	for (int i = 0; i < n; i++)
	{
		int64		found;
		int			s;

		if (decimal_at(bits[i], e, &found))
			continue;
		s = special_of(bits[i]);
		out = prom_put_varint(out, i - last - 1);
		*out++ = (uint8) s;
		if (s == 0)
		{
			out = prom_put_u64le(out, bits[i]);
			(*raw)++;
		}
		last = i;
	}
	return out;
}

static inline int
zz_length(uint64 v)
{
	return prom_bit_length(prom_zigzag_encode((int64) v));
}

/* The exponent at which decimals miss these few values by least; -1 if their bits are as good. */
static int
ulp_exponent(const uint64 *bits, int n)
{
	int			best_e = -1;
	int			best = 0;

	for (int i = 1; i < n; i++)
		best += zz_length(ordered(bits[i]) - ordered(bits[i - 1]));
	for (int e = 0; e <= MAX_EXPONENT; e++)
	{
		int			cost = 2 * n;
		int64		last = 0;

		for (int i = 0; i < n && cost < best; i++)
		{
			int64		m;

			if (!nearest(bits_double(bits[i]), e, &m))
			{
				if (special_of(bits[i]))
					continue;
				return best_e;
			}
			if (i > 0)
				cost += zz_length((uint64) m - (uint64) last);
			cost += zz_length(ordered(bits[i]) - ordered(decimal_bits(m, e)));
			last = m;
		}
		if (cost < best)
		{
			best = cost;
			best_e = e;
		}
	}
	return best_e;
}

static uint8 *
encode_ulp(uint8 *out, const uint64 *bits, int n, int e, uint64 *m, uint64 *k)
{
	*out++ = value_head(VALUE_ULP, e);
	for (int i = 0; i < n; i++)
	{
		int64		found;

		if (!nearest(bits_double(bits[i]), e, &found))
			found = i > 0 ? (int64) m[i - 1] : 0;
		m[i] = (uint64) found;
		k[i] = ordered(bits[i]) - ordered(decimal_bits(found, e));
	}
	out = prom_int_encode(out, m, n);
	return prom_int_encode(out, k, n);
}

static uint8 *
encode_ordered(uint8 *out, const uint64 *bits, int n, uint64 *work)
{
	*out++ = value_head(VALUE_ORDERED, 0);
	for (int i = 0; i < n; i++)
		work[i] = ordered(bits[i]);
	return prom_int_encode(out, work, n);
}

/* If [scratch, scratch_end) is shorter than [out, end) it takes that place. */
static uint8 *
keep_shorter(uint8 *out, uint8 *end, const uint8 *scratch, const uint8 *scratch_end)
{
	if (scratch_end - scratch >= end - out)
		return end;
	memcpy(out, scratch, scratch_end - scratch);
	return out + (scratch_end - scratch);
}

uint8 *
prom_value_encode(uint8 *out, const uint64 *bits, int n, PromValueWork *work)
{
	uint8	   *end;
	uint8	   *scratch = work->bytes;
	uint8	   *decimal_end = NULL;
	int			odd;
	int			raw;
	int			e;
	int			ulp;

	if (memcmp(bits, bits + 1, (n - 1) * sizeof(uint64)) == 0)
		return encode_constant(out, bits[0]);
	e = column_exponent(bits, n, &odd);
	if (odd <= n / 2)
	{
		decimal_end = encode_decimal(scratch, bits, n, e, work->a, &raw);
		/* special values are cheap; few of them, or none, are no reason to look further */
		if (raw == 0 && decimal_end - scratch < 2 * n + 64)
		{
			memcpy(out, scratch, decimal_end - scratch);
			return out + (decimal_end - scratch);
		}
	}

	end = encode_ordered(out, bits, n, work->a);
	if (decimal_end)
		end = keep_shorter(out, end, scratch, decimal_end);
	ulp = ulp_exponent(bits, Min(n, TRIAL));
	if (ulp >= 0)
		end = keep_shorter(out, end, scratch,
						   encode_ulp(scratch, bits, n, ulp, work->a, work->b));
	return end;
}

uint8 *
prom_value_encode_fresh(uint8 *out, const uint64 *bits, int n)
{
	int			e = 0;

	for (int i = 0; i < n; i++)
	{
		double		v = bits_double(bits[i]);
		int64		m;
		uint64		u;
		int			s;
		int			found;
		int			len;

		if (i > 0 && bits[i] == bits[i - 1])
		{
			*out++ = FRESH_SAME;
			continue;
		}
		s = special_of(bits[i]);
		if (s)
		{
			*out++ = (uint8) (FRESH_SPECIAL + s);
			continue;
		}
		if (v < TWO53 && v > -TWO53 && (double) (m = (int64) v) == v)
			found = 0;
		else
		{
			/* neighbours mostly have as many decimals */
			found = decimal_exponent(bits[i], Max(e, 1), FRESH_MAX_EXPONENT, &m);
			if (found < 0 && e > 1)
				found = decimal_exponent(bits[i], 1, e - 1, &m);
		}
		if (found < 0)
		{
			*out++ = FRESH_RAW;
			out = prom_put_u64le(out, bits[i]);
			continue;
		}
		e = found;
		u = prom_zigzag_encode(m);
		len = (prom_bit_length(u) + 7) / 8;
		*out++ = (uint8) (e << 4 | len);
		/* all eight, for speed: there is room, and what is too much is written over */
		(void) prom_put_u64le(out, u);
		out += len;
	}
	return out;
}

/* ---- decoding ---- */

/* bits of 2^84 + 2^63, of 2^52, and of the sum of both */
#define HIGH_ZERO	UINT64CONST(0x4530000080000000)
#define LOW_ZERO	UINT64CONST(0x4330000000000000)
#define BOTH_ZEROS	UINT64CONST(0x4530000080100000)

/*
 * (double) m of any int64, in steps that compilers turn into vectors: the instruction that converts is
 * for one number.  Both halves of m become float64 as the last bits of numbers so large that these count
 * 2^32 and 1; only the last sum is rounded.
 */
static inline double
int64_double(uint64 m)
{
	double		high = bits_double(HIGH_ZERO ^ (m >> 32));
	double		low = bits_double(LOW_ZERO | (m & PG_UINT32_MAX));

	return (high - bits_double(BOTH_ZEROS)) + low;
}

/* decimal_bits() of all of them. */
static void
decimals_to_bits(uint64 *m, int n, int e)
{
	double		p = power10[e];

	if (e == 0)
		for (int i = 0; i < n; i++)
			m[i] = double_bits(int64_double(m[i]));
	else
		for (int i = 0; i < n; i++)
			m[i] = double_bits(int64_double(m[i]) / p);
}

static void
fill(uint64 *bits, int n)
{
	uint64		first = bits[0];

	for (int i = 1; i < n; i++)
		bits[i] = first;
}

static const char *
decode_decimal(PromBytes *in, uint64 *bits, int n, int e)
{
	/* most columns are constant: one division will do */
	bool		constant = prom_int_is_constant(in);
	const char *reason = prom_int_decode(in, bits, constant ? 1 : n);

	if (reason)
		return reason;
	decimals_to_bits(bits, constant ? 1 : n, e);
	if (constant)
		fill(bits, n);
	return NULL;
}

static const char *
decode_patched(PromBytes *in, uint64 *bits, int n, int e)
{
	uint64		odd = prom_bytes_varint(in);
	uint64		i = 0;
	const char *reason = prom_int_decode(in, bits, n);

	if (reason)
		return reason;
	if (odd == 0 || odd > (uint64) n)
		return "value column has a wrong number of exceptions";
	decimals_to_bits(bits, n, e);
	for (; odd > 0; odd--, i++)
	{
		uint64		gap = prom_bytes_varint(in);
		int			s = prom_bytes_u8(in);

		if (in->bad)
			return "value column is truncated";
		if (gap >= (uint64) n - i || s >= (int) lengthof(special_bits))
			return "value column has an exception out of place";
		i += gap;
		bits[i] = s ? special_bits[s] : prom_bytes_u64le(in);
		if (in->bad)
			return "value column is truncated";
		if (odd > 1 && i + 1 >= (uint64) n)
			return "value column has an exception out of place";
	}
	return NULL;
}

static const char *
decode_ulp(PromBytes *in, uint64 *bits, int n, int e, uint64 *work)
{
	const char *reason = prom_int_decode(in, bits, n);

	if (reason == NULL)
		reason = prom_int_decode(in, work, n);
	if (reason)
		return reason;
	decimals_to_bits(bits, n, e);
	for (int i = 0; i < n; i++)
		bits[i] = unordered(ordered(bits[i]) + work[i]);
	return NULL;
}

const char *
prom_value_decode(const uint8 *bytes, size_t len, uint64 *bits, int n, uint64 *work)
{
	PromBytes	in = prom_bytes(bytes, len);
	int			head = prom_bytes_u8(&in);
	int			e = head & ((1 << VALUE_SHIFT) - 1);
	int			kind = head >> VALUE_SHIFT;
	const char *reason = NULL;

	if (in.bad)
		return "value column is truncated";
	if (e > MAX_EXPONENT || (e > 0 && kind > VALUE_ULP))
		return "value column has an exponent out of range";
	switch (kind)
	{
		case VALUE_DECIMAL:
			reason = decode_decimal(&in, bits, n, e);
			break;
		case VALUE_PATCHED:
			reason = decode_patched(&in, bits, n, e);
			break;
		case VALUE_ULP:
			reason = decode_ulp(&in, bits, n, e, work);
			break;
		case VALUE_ORDERED:
			reason = prom_int_decode(&in, bits, n);
			if (reason == NULL)
				for (int i = 0; i < n; i++)
					bits[i] = unordered(bits[i]);
			break;
		case VALUE_CONST:
			bits[0] = prom_bytes_u64le(&in);
			fill(bits, n);
			break;
		default:
			return "value column is of unknown kind";
	}
	if (reason)
		return reason;
	if (in.bad)
		return "value column is truncated";
	if (prom_bytes_left(&in) > 0)
		return "value column has bytes left over";
	return NULL;
}

const char *
prom_value_decode_fresh(const uint8 *bytes, size_t len, uint64 *bits, int n)
{
	PromBytes	in = prom_bytes(bytes, len);
	uint64		last = 0;

	for (int i = 0; i < n; i++)
	{
		int			head = prom_bytes_u8(&in);
		int			e = head >> 4;
		int			len = head & 15;

		if (e <= FRESH_MAX_EXPONENT)
		{
			uint64		m = 0;

			if (len > 8 || (size_t) len > prom_bytes_left(&in))
				return "fresh value is truncated or too long";
			if (prom_bytes_left(&in) >= 8)
				m = len ? prom_get_u64le(in.at) & ~UINT64CONST(0) >> (64 - 8 * len) : 0;
			else
				for (int j = 0; j < len; j++)
					m |= (uint64) in.at[j] << (8 * j);
			in.at += len;
			last = decimal_bits(prom_zigzag_decode(m), e);
		}
		else if (head == FRESH_RAW)
			last = prom_bytes_u64le(&in);
		else if (head > FRESH_SPECIAL && head < FRESH_SPECIAL + (int) lengthof(special_bits))
			last = special_bits[head - FRESH_SPECIAL];
		else if (head != FRESH_SAME || i == 0)
			return "fresh value is of unknown kind";
		bits[i] = last;
	}
	if (in.bad)
		return "value column is truncated";
	if (prom_bytes_left(&in) > 0)
		return "value column has bytes left over";
	return NULL;
}
