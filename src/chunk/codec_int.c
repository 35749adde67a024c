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
		cost = prom_mini_plan(u, c, quick, &width, &patches);
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
		if (prom_mini_plan(u, c, quick, &width, &patches) == 1)
		{
			run++;
			continue;
		}
		out = prom_mini_run_write(out, run);
		run = 0;
		out = prom_mini_write(out, u, c, width, patches);
	}
	return prom_mini_run_write(out, run);
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

/*
 * Where a model is between two mini blocks.  It is told of x itself: its steps are multiplied by the
 * divisor, as the residuals are, and begin at x0.
 */
typedef struct IntState
{
	int			kind;
	uint64		gcd;
	uint64		x;				/* the last x; of a line the next, less what its residual says */
	uint64		step;
} IntState;

static inline bool
has_zigzag(int kind)
{
	return kind == INT_STEP || kind == INT_STEP2 || kind == INT_LINE_ZZ;
}

/* Makes c numbers of the column out of their residuals. */
static void
restore(IntState *s, uint64 *u, int c)
{
	uint64		x = s->x;
	uint64		step = s->step;
	uint64		gcd = s->gcd;

	if (has_zigzag(s->kind))
		for (int j = 0; j < c; j++)
			u[j] = unzz(u[j]);
	if (gcd != 1)
		for (int j = 0; j < c; j++)
			u[j] *= gcd;
	switch (s->kind)
	{
		case INT_STEP:
		case INT_STEP_FOR:
			for (int j = 0; j < c; j++)
				u[j] = x += step + u[j];
			break;
		case INT_STEP2:
			for (int j = 0; j < c; j++)
				u[j] = x += step += u[j];
			break;
		default:
			for (int j = 0; j < c; j++, x += step)
				u[j] += x;
			break;
	}
	s->x = x;
	s->step = step;
}

/* The numbers that the mini blocks tell. */
static const char *
model_read(PromBytes *in, IntState *s, uint64 *x, int n)
{
	int			run = 0;

	for (int i = first_residual(s->kind); i < n; i += MINI)
	{
		int			c = Min(MINI, n - i);
		const char *reason;

		if (run > 0)
		{
			run--;
			memset(x + i, 0, c * sizeof(uint64));
		}
		else if ((reason = prom_mini_read(in, c, x + i, &run)) != NULL)
			return reason;
		restore(s, x + i, c);
	}
	return run > 0 ? "integer column has a run past its end" : NULL;
}

const char *
prom_int_decode(PromBytes *in, uint64 *x, int n)
{
	int			head = prom_bytes_u8(in);
	int			kind = head & INT_KIND;
	uint64		x0 = unzz(prom_bytes_varint(in));
	uint64		gcd = head & INT_GCD ? prom_bytes_varint(in) : 1;
	uint64		r = gcd * (head & INT_REF ? unzz(prom_bytes_varint(in)) : 0);
	uint64		d0 = gcd * (has_line(kind) ? unzz(prom_bytes_varint(in)) : 0);
	IntState	s = {kind, gcd, x0, r};

	if (in->bad)
		return "integer column is truncated";
	if (head & ~INT_FLAGS || kind > INT_LINE_ZZ ||
		(kind <= INT_LINE && head & (INT_GCD | INT_REF)) || (kind == INT_STEP2 && head & INT_REF))
		return "integer column is of unknown kind";

	x[0] = x0;
	if (kind <= INT_LINE)
	{
		for (int i = 1; i < n; i++)
			x[i] = x0 += d0;
		return NULL;
	}
	if (kind == INT_STEP2 && n > 1)
	{
		s.step = d0;
		x[1] = s.x = x0 + d0;
	}
	else if (kind != INT_STEP && kind != INT_STEP_FOR)
	{
		s.step = d0;
		s.x = x0 + r + d0;
	}
	return model_read(in, &s, x, n);
}

bool
prom_int_is_constant(const PromBytes *in)
{
	return in->at < in->end && *in->at == INT_CONST;
}
