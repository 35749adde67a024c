/*
 * codec_int.c
 *	  A column of 64-bit integers in as few bytes as a cheap look at it allows.
 *
 * A column is x[i] = x0 + g * y[i], y[0] = 0, where g is the greatest common divisor of all steps.
 * y is described by one of a few models (constant, line, offset from a minimum, step, step of step,
 * offset from a line); what the model does not explain, the residuals, is bit-packed in mini blocks
 * of 64, each with its own width and with the few that do not fit as exceptions.  The encoder costs
 * every model exactly and takes the cheapest.  Models wrap modulo 2^64, so any integers pass.
 */
#include "c.h"

#include "chunk/codec.h"

#define MINI			PROM_INT_MINI
#define MINI_BYTES		(MINI * 8)

/* the first byte: a kind, and what follows it */
#define INT_CONST		0		/* y = 0 */
#define INT_LINE		1		/* y = i * d0 */
#define INT_FOR			2		/* y = r + u */
#define INT_STEP		3		/* y = y' + r + zigzag(u) */
#define INT_STEP_FOR	4		/* y = y' + r + u */
#define INT_STEP2		5		/* y = y' + d, d = d' + zigzag(u), first d is d0 */
#define INT_LINE_FOR	6		/* y = i * d0 + r + u */
#define INT_LINE_ZZ		7		/* y = i * d0 + r + zigzag(u) */
#define INT_KIND		15
#define INT_GCD			16
#define INT_REF			32
#define INT_FLAGS		(INT_KIND | INT_GCD | INT_REF)

/* mini block headers: a width up to 64; 66..127 a run of 2..63 empty ones; or with exceptions: */
#define MINI_RUN		64
#define MINI_MAX_RUN	63
#define MINI_PATCHED	128

typedef struct IntModel
{
	int			kind;
	uint64		r;
	uint64		d0;
} IntModel;

static inline uint64
zz(uint64 v)
{
	return prom_zigzag_encode((int64) v);
}

static inline uint64
unzz(uint64 v)
{
	return (uint64) prom_zigzag_decode(v);
}

static inline bool
has_line(int kind)
{
	return kind == INT_LINE || kind == INT_STEP2 || kind == INT_LINE_FOR || kind == INT_LINE_ZZ;
}

/* The first y that the residuals, not the head, tell. */
static inline int
first_residual(int kind)
{
	return kind == INT_STEP2 ? 2 : 1;
}

/* ---- encoding ---- */

/* Residuals of y[i .. i+c-1] under a model. */
static void
residuals(const IntModel *m, const uint64 *y, int i, int c, uint64 *u)
{
	const uint64 *p = y + i;
	uint64		r = m->r;
	uint64		d0 = m->d0;
	uint64		line = r + (uint64) i * d0;

	switch (m->kind)
	{
		case INT_FOR:
			for (int j = 0; j < c; j++)
				u[j] = p[j] - r;
			break;
		case INT_STEP:
			for (int j = 0; j < c; j++)
				u[j] = zz(p[j] - p[j - 1] - r);
			break;
		case INT_STEP_FOR:
			for (int j = 0; j < c; j++)
				u[j] = p[j] - p[j - 1] - r;
			break;
		case INT_STEP2:
			for (int j = 0; j < c; j++)
				u[j] = zz(p[j] - 2 * p[j - 1] + p[j - 2]);
			break;
		case INT_LINE_FOR:
			for (int j = 0; j < c; j++, line += d0)
				u[j] = p[j] - line;
			break;
		case INT_LINE_ZZ:
			for (int j = 0; j < c; j++, line += d0)
				u[j] = zz(p[j] - line);
			break;
	}
}

/*
 * The width that packs c residuals in the fewest bytes; *patches is how many do not fit into it: none if
 * it has to be quick.  Returns the bytes, header included.
 */
static int
mini_plan(const uint64 *u, int c, bool quick, int *width, int *patches)
{
	uint8		count[65] = {0};
	uint64		all = 0;
	int			top;
	int			best;
	int			over = 0;

	for (int j = 0; j < c; j++)
		all |= u[j];
	top = prom_bit_length(all);
	*width = top;
	*patches = 0;
	best = 1 + (c * top + 7) / 8;
	if (top <= 1 || quick)
		return best;

	for (int j = 0; j < c; j++)
		count[prom_bit_length(u[j])]++;
	for (int w = top - 1; w >= 0; w--)
	{
		int			bytes;

		over += count[w + 1];
		bytes = 2 + (c * w + 7) / 8 + over;
		if (over > c / 4)
			break;
		for (int l = w + 1; l <= top; l++)
			bytes += count[l] * ((l - w + 6) / 7);
		if (bytes < best)
		{
			best = bytes;
			*width = w;
			*patches = over;
		}
	}
	return best;
}

/* Bytes of all mini blocks under a model, or something >= limit as soon as that is reached. */
static size_t
model_cost(const IntModel *m, const uint64 *y, int n, bool quick, size_t limit)
{
	uint64		u[MINI];
	size_t		bytes = 0;
	bool		run = false;

	for (int i = first_residual(m->kind); i < n && bytes < limit; i += MINI)
	{
		int			c = Min(MINI, n - i);
		int			width;
		int			patches;
		int			cost;

		residuals(m, y, i, c, u);
		cost = mini_plan(u, c, quick, &width, &patches);
		if (cost > 1 || !run)
			bytes += cost;
		run = cost == 1;
	}
	return bytes;
}

/* Bytes of a varint. */
static int
varint_length(uint64 v)
{
	return v ? (prom_bit_length(v) + 6) / 7 : 1;
}

static size_t
head_cost(const IntModel *m)
{
	return (m->r ? varint_length(zz(m->r)) : 0) +
		(has_line(m->kind) ? varint_length(zz(m->d0)) : 0);
}

static uint8 *
mini_pack(uint8 *out, const uint64 *u, int c, int w)
{
	uint8	   *end = out + (c * w + 7) / 8;
	uint64		mask = w == 64 ? ~UINT64CONST(0) : (UINT64CONST(1) << w) - 1;
	uint64		acc = 0;
	int			fill = 0;

	if (w == 0)
		return out;
	for (int j = 0; j < c; j++)
	{
		uint64		v = u[j] & mask;

		acc |= v << fill;
		fill += w;
		if (fill >= 64)
		{
			out = prom_put_u64le(out, acc);
			fill -= 64;
			acc = fill ? v >> (w - fill) : 0;
		}
	}
	for (; out < end; acc >>= 8)
		*out++ = (uint8) acc;
	return out;
}

static uint8 *
mini_write(uint8 *out, const uint64 *u, int c, int width, int patches)
{
	if (patches == 0)
	{
		*out++ = (uint8) width;
		return mini_pack(out, u, c, width);
	}
	*out++ = (uint8) (MINI_PATCHED | width);
	*out++ = (uint8) patches;
	out = mini_pack(out, u, c, width);
	for (int j = 0; j < c; j++)
		if (u[j] >> width)
			*out++ = (uint8) j;
	for (int j = 0; j < c; j++)
		if (u[j] >> width)
			out = prom_put_varint(out, u[j] >> width);
	return out;
}

static uint8 *
run_write(uint8 *out, int run)
{
	for (; run > 0; run -= MINI_MAX_RUN)
		*out++ = run == 1 ? 0 : (uint8) (MINI_RUN + Min(run, MINI_MAX_RUN));
	return out;
}

static uint8 *
model_write(uint8 *out, const IntModel *m, const uint64 *y, int n, bool quick)
{
	uint64		u[MINI];
	int			run = 0;

	for (int i = first_residual(m->kind); i < n; i += MINI)
	{
		int			c = Min(MINI, n - i);
		int			width;
		int			patches;

		residuals(m, y, i, c, u);
		if (mini_plan(u, c, quick, &width, &patches) == 1)
		{
			run++;
			continue;
		}
		out = run_write(out, run);
		run = 0;
		out = mini_write(out, u, c, width, patches);
	}
	return run_write(out, run);
}

/* What one pass over the steps of a column tells. */
typedef struct IntShape
{
	uint64		gcd;
	bool		line;
	int64		y_min;
	int64		step_min;
	uint64		step_middle;	/* median of a few */
	uint64		mean_step;
} IntShape;

static uint64
gcd64(uint64 a, uint64 b)
{
	while (b)
	{
		uint64		t = a % b;

		a = b;
		b = t;
	}
	return a;
}

/* The greatest common divisor of all steps; 1 if there is none worth a division. */
static uint64
common_divisor(const uint64 *x, int n)
{
	uint64		g = 0;
	uint64		seen = 0;

	for (int i = 1; i < n && g != 1; i++)
	{
		uint64		d = x[i] - x[i - 1];

		if (d == seen || d == 0)
			continue;
		seen = d;
		if ((int64) d < 0)
			d = -d;
		if (g == 0)
			g = d;
		else if (d % g != 0)
			g = gcd64(g, d % g);
	}
	return g > (uint64) PG_INT64_MAX || g == 0 ? 1 : g;
}

#define MIDDLE_OF	15

static uint64
middle_step(const uint64 *y, int n)
{
	int64		few[MIDDLE_OF];
	int			k = Min(n - 1, MIDDLE_OF);

	for (int j = 0; j < k; j++)
	{
		int			i = 1 + (int) ((int64) j * (n - 1) / k);
		int64		d = (int64) (y[i] - y[i - 1]);
		int			at = j;

		for (; at > 0 && few[at - 1] > d; at--)
			few[at] = few[at - 1];
		few[at] = d;
	}
	return (uint64) few[k / 2];
}

/* Turns x into y and looks at it. */
static void
take_shape(IntShape *s, uint64 *x, int n)
{
	uint64		last = x[0];
	uint64		first_step;
	uint64		y = 0;

	s->gcd = common_divisor(x, n);
	first_step = (x[1] - x[0]) == 0 ? 0 : (uint64) ((int64) (x[1] - x[0]) / (int64) s->gcd);
	s->line = true;
	s->y_min = 0;
	s->step_min = PG_INT64_MAX;
	x[0] = 0;
	for (int i = 1; i < n; i++)
	{
		int64		d = (int64) (x[i] - last);

		last = x[i];
		if (s->gcd > 1)
			d /= (int64) s->gcd;
		y += (uint64) d;
		x[i] = y;
		s->line &= (uint64) d == first_step;
		s->step_min = Min(s->step_min, d);
		s->y_min = Min(s->y_min, (int64) y);
	}
	s->step_middle = middle_step(x, n);
	s->mean_step = (uint64) ((int64) y / (n - 1));
}

/* The first of the models below, which are all that is tried if it has to be quick. */
#define QUICK_TRIES	3

/* The cheapest model of y, found by costing each. */
static IntModel
choose_model(const IntShape *s, const uint64 *y, int n, bool quick)
{
	IntModel	tries[] = {
		{INT_STEP, 0, 0},
		{INT_FOR, (uint64) s->y_min, 0},
		{INT_STEP_FOR, (uint64) s->step_min, 0},
		{INT_STEP2, 0, y[1]},
		{INT_STEP, s->step_middle, 0},
		{INT_LINE_ZZ, 0, s->step_middle},
		{INT_LINE_ZZ, 0, s->mean_step},
	};
	IntModel	best = tries[0];
	size_t		best_cost = SIZE_MAX;

	for (int k = 0; k < (quick ? QUICK_TRIES : (int) lengthof(tries)); k++)
	{
		size_t		cost = head_cost(&tries[k]);

		/* a few are the same thing again */
		if (k == 4 && tries[k].r == 0)
			continue;
		if (k >= 5 && (tries[k].d0 == 0 || (k == 6 && tries[k].d0 == tries[5].d0)))
			continue;
		if (cost < best_cost)
			cost += model_cost(&tries[k], y, n, quick, best_cost - cost);
		if (cost < best_cost)
		{
			best_cost = cost;
			best = tries[k];
		}
	}
	return best;
}

static uint8 *
encode(uint8 *out, uint64 *x, int n, bool quick)
{
	IntModel	model = {INT_CONST, 0, 0};
	IntShape	shape;
	uint64		x0 = x[0];
	uint64		gcd = 1;

	if (n > 1 && memcmp(x, x + 1, (n - 1) * sizeof(uint64)) != 0)
	{
		take_shape(&shape, x, n);
		if (shape.line)
		{
			model.kind = INT_LINE;
			model.d0 = x[1] * shape.gcd;
		}
		else
		{
			model = choose_model(&shape, x, n, quick);
			gcd = shape.gcd;
		}
	}

	*out++ = (uint8) (model.kind | (gcd > 1 ? INT_GCD : 0) | (model.r ? INT_REF : 0));
	out = prom_put_varint(out, zz(x0));
	if (gcd > 1)
		out = prom_put_varint(out, gcd);
	if (model.r)
		out = prom_put_varint(out, zz(model.r));
	if (has_line(model.kind))
		out = prom_put_varint(out, zz(model.d0));
	if (model.kind > INT_LINE)
		out = model_write(out, &model, x, n, quick);
	return out;
}

uint8 *
prom_int_encode(uint8 *out, uint64 *x, int n)
{
	return encode(out, x, n, false);
}

uint8 *
prom_int_encode_quick(uint8 *out, uint64 *x, int n)
{
	return encode(out, x, n, true);
}

/* ---- decoding ---- */

/* c numbers of w bits from bytes that may be read 9 past their end. */
static void
bits_unpack(const uint8 *p, int c, int w, uint64 *u)
{
	uint64		mask = w == 64 ? ~UINT64CONST(0) : (UINT64CONST(1) << w) - 1;

	if (w <= 56)
	{
		for (int j = 0, at = 0; j < c; j++, at += w)
			u[j] = (prom_get_u64le(p + (at >> 3)) >> (at & 7)) & mask;
		return;
	}
	for (int j = 0, at = 0; j < c; j++, at += w)
	{
		int			shift = at & 7;
		uint64		v = prom_get_u64le(p + (at >> 3)) >> shift;

		if (shift > 0)
			v |= (uint64) p[(at >> 3) + 8] << (64 - shift);
		u[j] = v & mask;
	}
}

static const char *
mini_patch(PromBytes *in, int c, int w, int patches, uint64 *u)
{
	const uint8 *at = prom_bytes_take(in, patches);
	int			last = -1;

	if (at == NULL)
		return "integer column is truncated";
	for (int k = 0; k < patches; k++)
	{
		uint64		high = prom_bytes_varint(in);

		if (in->bad)
			return "integer column is truncated";
		if (at[k] >= c || at[k] <= last || prom_bit_length(high) + w > 64)
			return "integer column has an exception out of place";
		last = at[k];
		u[last] |= high << w;
	}
	return NULL;
}

/* The residuals of one mini block that is not inside a run; may start one. */
static const char *
mini_read(PromBytes *in, int c, uint64 *u, int *run)
{
	uint8		padded[MINI_BYTES + 16];
	int			head = prom_bytes_u8(in);
	int			w = head & (MINI_PATCHED - 1);
	int			patches = 0;
	int			bytes;
	const uint8 *p;

	if (head > MINI_RUN + 1 && head < MINI_PATCHED)
	{
		*run = head - MINI_RUN - 1;
		memset(u, 0, c * sizeof(uint64));
		return NULL;
	}
	if (w > (head & MINI_PATCHED ? 63 : 64))
		return "integer column has an unknown mini block";
	if (head & MINI_PATCHED)
	{
		patches = prom_bytes_u8(in);
		if (!in->bad && (patches == 0 || patches > c))
			return "integer column has a wrong number of exceptions";
	}
	bytes = (c * w + 7) / 8;
	p = prom_bytes_take(in, bytes);
	if (p == NULL)
		return "integer column is truncated";
	if (w == 0)
		memset(u, 0, c * sizeof(uint64));
	else
	{
		if (prom_bytes_left(in) < 9)
		{
			memcpy(padded, p, bytes);
			memset(padded + bytes, 0, 9);
			p = padded;
		}
		bits_unpack(p, c, w, u);
	}
	return patches ? mini_patch(in, c, w, patches, u) : NULL;
}

/* Where a model is between two mini blocks. */
typedef struct IntState
{
	uint64		x0;
	uint64		gcd;
	uint64		y;
	uint64		step;
} IntState;

/* Numbers i .. i+c-1 of the column from their residuals. */
static void
restore(const IntModel *m, IntState *s, int i, int c, const uint64 *u, uint64 *x)
{
	uint64		y = s->y;
	uint64		step = s->step;
	uint64		r = m->r;
	uint64		d0 = m->d0;
	uint64		line = r + (uint64) i * d0;

	switch (m->kind)
	{
		case INT_FOR:
			for (int j = 0; j < c; j++)
				x[j] = r + u[j];
			break;
		case INT_STEP:
			for (int j = 0; j < c; j++)
				x[j] = y += r + unzz(u[j]);
			break;
		case INT_STEP_FOR:
			for (int j = 0; j < c; j++)
				x[j] = y += r + u[j];
			break;
		case INT_STEP2:
			for (int j = 0; j < c; j++)
			{
				step += unzz(u[j]);
				x[j] = y += step;
			}
			break;
		case INT_LINE_FOR:
			for (int j = 0; j < c; j++, line += d0)
				x[j] = line + u[j];
			break;
		case INT_LINE_ZZ:
			for (int j = 0; j < c; j++, line += d0)
				x[j] = line + unzz(u[j]);
			break;
	}
	s->y = y;
	s->step = step;
	if (s->gcd == 1)
		for (int j = 0; j < c; j++)
			x[j] += s->x0;
	else
		for (int j = 0; j < c; j++)
			x[j] = s->x0 + s->gcd * x[j];
}

/* The numbers that the mini blocks tell. */
static const char *
model_read(PromBytes *in, const IntModel *m, IntState *s, uint64 *x, int n)
{
	uint64		u[MINI];
	int			run = 0;

	for (int i = first_residual(m->kind); i < n; i += MINI)
	{
		int			c = Min(MINI, n - i);
		const char *reason;

		if (run > 0)
		{
			run--;
			memset(u, 0, c * sizeof(uint64));
		}
		else if ((reason = mini_read(in, c, u, &run)) != NULL)
			return reason;
		restore(m, s, i, c, u, x + i);
	}
	return run > 0 ? "integer column has a run past its end" : NULL;
}

const char *
prom_int_decode(PromBytes *in, uint64 *x, int n)
{
	int			head = prom_bytes_u8(in);
	IntModel	m = {head & INT_KIND, 0, 0};
	IntState	s = {0, 1, 0, 0};

	s.x0 = unzz(prom_bytes_varint(in));
	if (head & INT_GCD)
		s.gcd = prom_bytes_varint(in);
	if (head & INT_REF)
		m.r = unzz(prom_bytes_varint(in));
	if (has_line(m.kind))
		m.d0 = unzz(prom_bytes_varint(in));
	if (in->bad)
		return "integer column is truncated";
	if (head & ~INT_FLAGS || m.kind > INT_LINE_ZZ ||
		(m.kind <= INT_LINE && head & (INT_GCD | INT_REF)) || (m.kind == INT_STEP2 && head & INT_REF))
		return "integer column is of unknown kind";

	x[0] = s.x0;
	if (m.kind <= INT_LINE)
	{
		for (int i = 1; i < n; i++)
			x[i] = x[i - 1] + m.d0;
		return NULL;
	}
	if (m.kind == INT_STEP2 && n > 1)
	{
		s.y = s.step = m.d0;
		x[1] = s.x0 + s.gcd * m.d0;
	}
	return model_read(in, &m, &s, x, n);
}

bool
prom_int_is_constant(PromBytes in)
{
	return prom_bytes_u8(&in) == INT_CONST && !in.bad;
}
