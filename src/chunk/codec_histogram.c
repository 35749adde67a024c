/*
 * codec_histogram.c
 *	  A value column that has native histograms, among floats or not.
 *
 * Samples are sorted into layouts (schema, zero threshold, spans, custom bounds, of integers or not);
 * a layout is written once.  The counts of its histograms make a matrix: a row per sample; a column
 * for the zero bucket, for each bucket, and in front for the count, of integers what is left of it
 * without the buckets, so mostly 0.  Many rows are encoded column by column, each of which is a
 * counter; few rows row by row, as differences to the row before.  Sums are a value column, hints an
 * int column.
 *
 * Decoding is done in two steps, so that the caller allocates what the first one measured.
 */
#include "c.h"

#include "chunk/codec.h"

/* flags of a layout */
#define LAYOUT_IS_INT		1	/* came as integers */
#define LAYOUT_FLOATS		2	/* counts are value columns, not int columns */
#define LAYOUT_BY_ROW		4
#define LAYOUT_FLAGS		7

/* From so many histograms on they are encoded column by column. */
#define BY_COLUMN_FROM		8

/* Numbers of a row are encoded in pieces, for the work arrays have an end. */
#define PIECE				4096

/* How many layouts are compared before another one is begun. */
#define LOOK_BACK			16

#define TWO53				(UINT64CONST(1) << 53)

/* one byte tells the zero threshold: 0, a power of two, or that its bits follow */
#define THRESHOLD_ZERO		0
#define THRESHOLD_BIAS		244 /* byte b is 2^(b - 244) */
#define THRESHOLD_RAW		255

static const char *const truncated = "histogram column is truncated";

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

static inline int
row_width(const PromHistogram *h)
{
	return 2 + (int) (h->nbuckets[PROM_POSITIVE] + h->nbuckets[PROM_NEGATIVE]);
}

/* ---- encoding ---- */

static inline bool
is_whole(double v)
{
	return v >= 0 && v <= (double) TWO53 && double_bits((double) (uint64) v) == double_bits(v);
}

/* Can the counts be written as integers? */
static bool
counts_in_integers(const PromHistogram *h)
{
	int			n = row_width(h) - 2;

	if (!h->is_int || !is_whole(h->count) || !is_whole(h->zero_count))
		return false;
	for (int i = 0; i < n; i++)
		if (!is_whole(h->d[i]))
			return false;
	return true;
}

static bool
same_layout(const PromHistogram *a, const PromHistogram *b)
{
	return a->schema == b->schema && a->is_int == b->is_int && a->size == b->size &&
		memcmp(a->nbuckets, b->nbuckets, sizeof(a->nbuckets)) == 0 &&
		memcmp(a->nspans, b->nspans, sizeof(a->nspans)) == 0 && a->ncustom == b->ncustom &&
		double_bits(a->zero_threshold) == double_bits(b->zero_threshold) &&
		memcmp(prom_histogram_custom(a), prom_histogram_custom(b),
			   a->ncustom * sizeof(double) +
			   (a->nspans[PROM_POSITIVE] + a->nspans[PROM_NEGATIVE]) * sizeof(PromHistogramSpan)) == 0;
}

/* Gives each sample the number of its layout, 0 if it is a float; returns how many layouts there are. */
static int
sort_by_layout(const PromHistogram *const *h, int n, PromMixedWork *w)
{
	int			nlayouts = 0;

	for (int i = 0; i < n; i++)
	{
		int			k = 0;
		bool		floats;

		if (h[i] == NULL)
		{
			w->which[i] = 0;
			continue;
		}
		floats = !counts_in_integers(h[i]);
		for (int back = 0; back < LOOK_BACK && back < nlayouts && k == 0; back++)
			if (w->floats[nlayouts - 1 - back] == floats &&
				same_layout(h[w->first[nlayouts - 1 - back]], h[i]))
				k = nlayouts - back;
		if (k == 0)
		{
			w->first[nlayouts] = (uint16) i;
			w->floats[nlayouts] = floats;
			k = ++nlayouts;
		}
		w->which[i] = (uint16) k;
	}
	return nlayouts;
}

/* order[start[k - 1]] .. order[start[k] - 1] are the samples of layout k, ascending; floats come first. */
static void
list_members(int n, int nlayouts, PromMixedWork *w)
{
	memset(w->start, 0, (nlayouts + 2) * sizeof(w->start[0]));
	for (int i = 0; i < n; i++)
		w->start[w->which[i] + 1]++;
	for (int k = 0; k <= nlayouts; k++)
		w->start[k + 1] += w->start[k];
	for (int i = 0; i < n; i++)
		w->order[w->start[w->which[i]]++] = (uint16) i;
	/* each start has moved to the next one's place: start[k] is the end of layout k */
}

/* A value column and its length ahead. */
static uint8 *
put_values(uint8 *out, const uint64 *bits, int n, PromMixedWork *w)
{
	/* behind the longest length, then moved up */
	uint8	   *column = out + 5;
	size_t		len = prom_value_encode(column, bits, n, &w->value) - column;

	out = prom_put_varint(out, len);
	memmove(out, column, len);
	return out + len;
}

static uint8 *
put_pieces(uint8 *out, uint64 *x, int n, bool values, PromMixedWork *w)
{
	for (int at = 0; at < n; at += PIECE)
	{
		int			m = Min(n - at, PIECE);

		out = values ? put_values(out, x + at, m, w) : prom_int_encode(out, x + at, m);
	}
	return out;
}

static uint8 *
put_threshold(uint8 *out, double v)
{
	uint64		bits = double_bits(v);
	int			power = (int) (bits >> 52) - 1023;

	if (bits == 0)
		*out++ = THRESHOLD_ZERO;
	else if ((bits & ((UINT64CONST(1) << 52) - 1)) == 0 && power + THRESHOLD_BIAS > THRESHOLD_ZERO &&
			 power + THRESHOLD_BIAS < THRESHOLD_RAW)
		*out++ = (uint8) (power + THRESHOLD_BIAS);
	else
	{
		*out++ = THRESHOLD_RAW;
		out = prom_put_u64le(out, bits);
	}
	return out;
}

static uint8 *
put_layout(uint8 *out, const PromHistogram *h, int flags, PromMixedWork *w)
{
	*out++ = (uint8) flags;
	out = prom_put_varint(out, prom_zigzag_encode(h->schema));
	out = put_threshold(out, h->zero_threshold);
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		const PromHistogramSpan *span = prom_histogram_spans(h, (PromHistogramSide) side);

		out = prom_put_varint(out, h->nspans[side]);
		for (uint32 i = 0; i < h->nspans[side]; i++)
		{
			out = prom_put_varint(out, prom_zigzag_encode(span[i].offset));
			out = prom_put_varint(out, span[i].length);
		}
	}
	out = prom_put_varint(out, h->ncustom);
	for (uint32 at = 0; at < h->ncustom; at += PIECE)
	{
		int			m = (int) Min(h->ncustom - at, PIECE);

		memcpy(w->x, prom_histogram_custom(h) + at, m * sizeof(uint64));
		out = put_values(out, w->x, m, w);
	}
	return out;
}

/* Number j of a row as bits of a float. */
static inline uint64
float_number(const PromHistogram *h, int j)
{
	return double_bits(j == 0 ? h->count : j == 1 ? h->zero_count : h->d[j - 2]);
}

/* Number j > 0 of a row as an integer. */
static inline uint64
int_number(const PromHistogram *h, int j)
{
	return (uint64) (j == 1 ? h->zero_count : h->d[j - 2]);
}

/* What the count is more than the buckets, modulo 2^64. */
static uint64
int_rest(const PromHistogram *h)
{
	uint64		rest = (uint64) h->count;

	for (int j = row_width(h) - 1; j > 0; j--)
		rest -= int_number(h, j);
	return rest;
}

/* The counts of one layout; members are numbers of samples. */
static uint8 *
put_counts(uint8 *out, const PromHistogram *const *h, const uint16 *member, int n, int flags, PromMixedWork *w)
{
	int			width = row_width(h[member[0]]);
	bool		floats = (flags & LAYOUT_FLOATS) != 0;

	if (!(flags & LAYOUT_BY_ROW))
	{
		for (int j = 0; j < width; j++)
		{
			for (int i = 0; i < n; i++)
				w->x[i] = floats ? float_number(h[member[i]], j) :
					j == 0 ? int_rest(h[member[i]]) : int_number(h[member[i]], j);
			out = floats ? put_values(out, w->x, n, w) : prom_int_encode(out, w->x, n);
		}
		return out;
	}
	for (int i = 0; i < n; i++)
	{
		const PromHistogram *this = h[member[i]];
		const PromHistogram *last = i > 0 && !floats ? h[member[i - 1]] : NULL;

		for (int j = 0; j < width; j++)
		{
			w->x[j] = floats ? float_number(this, j) : j == 0 ? int_rest(this) : int_number(this, j);
			if (last)
				w->x[j] -= j == 0 ? int_rest(last) : int_number(last, j);
		}
		out = put_pieces(out, w->x, width, floats, w);
	}
	return out;
}

size_t
prom_mixed_bound(const PromHistogram *const *h, int n, size_t *bytes)
{
	size_t		bound = 128 + 2 * PROM_INT_BOUND(n) + PROM_VALUE_BOUND(n);

	*bytes = 0;
	for (int i = 0; i < n; i++)
	{
		if (h[i] == NULL)
			continue;
		bound += 512 + 24 * (size_t) row_width(h[i]) + 12 * (size_t) h[i]->ncustom +
			16 * ((size_t) h[i]->nspans[PROM_POSITIVE] + h[i]->nspans[PROM_NEGATIVE]);
		*bytes += h[i]->size;
	}
	return bound;
}

uint8 *
prom_mixed_encode(uint8 *out, const uint64 *bits, const PromHistogram *const *h, int n, PromMixedWork *w)
{
	int			nlayouts = sort_by_layout(h, n, w);
	int			nfloats;
	int			m = 0;

	list_members(n, nlayouts, w);
	nfloats = w->start[0];
	out = prom_put_varint(out, nlayouts);
	for (int i = 0; i < n; i++)
		w->x[i] = w->which[i];
	out = prom_int_encode(out, w->x, n);
	for (int i = 0; i < n; i++)
		if (h[i])
			w->x[m++] = h[i]->hint;
	if (m > 0)
		out = prom_int_encode(out, w->x, m);
	for (int k = 1; k <= nlayouts; k++)
	{
		const PromHistogram *first = h[w->first[k - 1]];
		int			members = w->start[k] - w->start[k - 1];

		w->flags[k - 1] = (uint8) ((first->is_int ? LAYOUT_IS_INT : 0) | (w->floats[k - 1] ? LAYOUT_FLOATS : 0) |
								   (members < BY_COLUMN_FROM ? LAYOUT_BY_ROW : 0));
		out = put_layout(out, first, w->flags[k - 1], w);
	}
	for (int i = 0; i < nfloats; i++)
		w->x[i] = bits[w->order[i]];
	if (nfloats > 0)
		out = put_values(out, w->x, nfloats, w);
	for (int k = 1; k <= nlayouts; k++)
	{
		const uint16 *member = w->order + w->start[k - 1];
		int			members = w->start[k] - w->start[k - 1];

		out = put_counts(out, h, member, members, w->flags[k - 1], w);
		for (int i = 0; i < members; i++)
			w->x[i] = double_bits(h[member[i]]->sum);
		out = put_values(out, w->x, members, w);
	}
	return out;
}

/* ---- decoding ---- */

static const char *
get_values(PromBytes *in, uint64 *bits, int n, PromMixedWork *w)
{
	uint64		len = prom_bytes_varint(in);
	const uint8 *p = prom_bytes_take(in, len);

	if (p == NULL)
		return truncated;
	return prom_value_decode(p, (size_t) len, bits, n, w->value.a);
}

static const char *
get_pieces(PromBytes *in, uint64 *x, int n, bool values, PromMixedWork *w)
{
	const char *reason = NULL;

	for (int at = 0; at < n && reason == NULL; at += PIECE)
	{
		int			m = Min(n - at, PIECE);

		reason = values ? get_values(in, x + at, m, w) : prom_int_decode(in, x + at, m);
	}
	return reason;
}

/* Which sample is of which layout, and the hints, one per histogram. */
static const char *
get_samples(PromBytes *in, int n, int *nlayouts, PromMixedWork *w)
{
	uint64		claimed = prom_bytes_varint(in);
	const char *reason;
	int			nhistograms = 0;

	if (in->bad)
		return truncated;
	if (claimed > (uint64) n)
		return "histogram column has a number of layouts out of range";
	*nlayouts = (int) claimed;
	reason = prom_int_decode(in, w->x, n);
	if (reason)
		return reason;
	for (int i = 0; i < n; i++)
	{
		if (w->x[i] > claimed)
			return "histogram column names a layout that is not there";
		w->which[i] = (uint16) w->x[i];
		nhistograms += w->x[i] > 0;
	}
	list_members(n, *nlayouts, w);
	for (int k = 1; k <= *nlayouts; k++)
		if (w->start[k] == w->start[k - 1])
			return "histogram column has a layout without samples";
	if (nhistograms > 0)
		reason = prom_int_decode(in, w->x, nhistograms);
	for (int i = 0; i < nhistograms && reason == NULL; i++)
	{
		if (w->x[i] > PROM_HINT_GAUGE)
			return "histogram column has an unknown hint";
		w->hint[i] = (uint8) w->x[i];
	}
	return reason;
}

/* Number of spans and buckets of one side; *in is left after them. */
static const char *
skip_spans(PromBytes *in, PromHistogram *head, int side)
{
	uint64		nspans = prom_bytes_varint(in);
	uint64		nbuckets = 0;

	if (nspans > PROM_HISTOGRAM_MAX_BUCKETS)
		return "histogram has too many buckets or spans";
	for (uint64 i = 0; i < nspans && !in->bad; i++)
	{
		int64		offset = prom_zigzag_decode(prom_bytes_varint(in));
		uint64		length = prom_bytes_varint(in);

		if (length > PROM_HISTOGRAM_MAX_BUCKETS - nbuckets || offset < PG_INT32_MIN || offset > PG_INT32_MAX)
			return "histogram has a span out of range";
		nbuckets += length;
	}
	head->nspans[side] = (uint32) nspans;
	head->nbuckets[side] = (uint32) nbuckets;
	return in->bad ? truncated : NULL;
}

/*
 * Read a layout: everything of "head" but its size and counts.  If "full" is not NULL it is a histogram
 * with room for spans and custom bounds, and these are filled.
 */
static const char *
get_layout(PromBytes *in, PromHistogram *head, int *flags, PromHistogram *full, PromMixedWork *w)
{
	PromBytes	spans;
	int64		schema;
	uint64		ncustom;
	int			threshold;
	const char *reason;

	memset(head, 0, sizeof(*head));
	*flags = prom_bytes_u8(in);
	schema = prom_zigzag_decode(prom_bytes_varint(in));
	threshold = prom_bytes_u8(in);
	if (*flags & ~LAYOUT_FLAGS || !(*flags & (LAYOUT_IS_INT | LAYOUT_FLOATS)))
		return "histogram layout has unknown flags";
	if (schema < PG_INT8_MIN || schema > PG_INT8_MAX)
		return "histogram has an invalid schema";
	head->is_int = (*flags & LAYOUT_IS_INT) != 0;
	head->schema = (int8) schema;
	if (threshold == THRESHOLD_RAW)
		head->zero_threshold = bits_double(prom_bytes_u64le(in));
	else if (threshold != THRESHOLD_ZERO)
		head->zero_threshold = bits_double((uint64) (threshold - THRESHOLD_BIAS + 1023) << 52);
	spans = *in;
	reason = skip_spans(in, head, PROM_POSITIVE);
	if (reason == NULL)
		reason = skip_spans(in, head, PROM_NEGATIVE);
	ncustom = prom_bytes_varint(in);
	if (reason == NULL && in->bad)
		reason = truncated;
	if (reason)
		return reason;
	if (ncustom > PROM_HISTOGRAM_MAX_BUCKETS ||
		head->nspans[0] + head->nspans[1] > PROM_HISTOGRAM_MAX_BUCKETS ||
		head->nbuckets[0] + head->nbuckets[1] > PROM_HISTOGRAM_MAX_BUCKETS)
		return "histogram has too many buckets or spans";
	head->ncustom = (uint32) ncustom;
	head->size = (uint32) prom_histogram_size(head->nbuckets[0], head->nbuckets[1], head->ncustom,
											  head->nspans[0], head->nspans[1]);
	if (full)
	{
		memset(full, 0, head->size);
		memcpy(full, head, offsetof(PromHistogram, d));
		for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		{
			PromHistogramSpan *span = prom_histogram_spans(full, (PromHistogramSide) side);

			(void) prom_bytes_varint(&spans);
			for (uint32 i = 0; i < full->nspans[side]; i++)
			{
				span[i].offset = (int32) prom_zigzag_decode(prom_bytes_varint(&spans));
				span[i].length = (uint32) prom_bytes_varint(&spans);
			}
		}
	}
	for (uint32 at = 0; at < head->ncustom; at += PIECE)
	{
		int			m = (int) Min(head->ncustom - at, PIECE);

		reason = get_values(in, w->x, m, w);
		if (reason)
			return reason;
		if (full)
			memcpy(prom_histogram_custom(full) + at, w->x, m * sizeof(uint64));
	}
	return full ? prom_histogram_check_shape(full, full->size) : NULL;
}

const char *
prom_mixed_measure(PromBytes in, int n, size_t *bytes, PromMixedWork *w)
{
	int			nlayouts;
	const char *reason = get_samples(&in, n, &nlayouts, w);

	*bytes = 0;
	for (int k = 1; k <= nlayouts && reason == NULL; k++)
	{
		PromHistogram head;
		int			flags;

		reason = get_layout(&in, &head, &flags, NULL, w);
		if (reason)
			break;
		*bytes += (size_t) head.size * (w->start[k] - w->start[k - 1]);
		if (*bytes > PROM_MIXED_MAX_BYTES)
			reason = "histogram column is too large";
	}
	return reason;
}

static inline void
set_number(PromHistogram *h, int j, double v)
{
	if (j == 1)
		h->zero_count = v;
	else
		h->d[j - 2] = v;
}

/* The count from what it is more than the buckets; all of them must be whole numbers up to 2^53. */
static const char *
finish_int(PromHistogram *h, uint64 rest)
{
	for (int j = row_width(h) - 1; j > 0; j--)
		rest += int_number(h, j);
	if (rest > TWO53)
		return "histogram has a count out of range";
	h->count = (double) rest;
	return NULL;
}

static const char *
get_int_counts(PromBytes *in, PromHistogram **h, const uint16 *member, int n, bool by_row, PromMixedWork *w)
{
	int			width = row_width(h[member[0]]);
	const char *reason = NULL;
	uint64		rest = 0;

	if (by_row)
	{
		for (int i = 0; i < n && reason == NULL; i++)
		{
			reason = get_pieces(in, w->x, width, false, w);
			if (reason)
				return reason;
			for (int j = 1; j < width; j++)
			{
				uint64		v = w->x[j] + (i > 0 ? int_number(h[member[i - 1]], j) : 0);

				if (v > TWO53)
					return "histogram has a count out of range";
				set_number(h[member[i]], j, (double) v);
			}
			rest += w->x[0];
			reason = finish_int(h[member[i]], rest);
		}
		return reason;
	}
	/* the first column is needed last */
	reason = prom_int_decode(in, w->rest, n);
	for (int j = 1; j < width && reason == NULL; j++)
	{
		reason = prom_int_decode(in, w->x, n);
		for (int i = 0; i < n && reason == NULL; i++)
		{
			if (w->x[i] > TWO53)
				reason = "histogram has a count out of range";
			else
				set_number(h[member[i]], j, (double) w->x[i]);
		}
	}
	for (int i = 0; i < n && reason == NULL; i++)
		reason = finish_int(h[member[i]], w->rest[i]);
	return reason;
}

static const char *
get_float_counts(PromBytes *in, PromHistogram **h, const uint16 *member, int n, bool by_row, PromMixedWork *w)
{
	int			width = row_width(h[member[0]]);
	const char *reason = NULL;

	for (int i = 0; i < n && by_row && reason == NULL; i++)
	{
		reason = get_pieces(in, w->x, width, true, w);
		if (reason)
			return reason;
		h[member[i]]->count = bits_double(w->x[0]);
		for (int j = 1; j < width; j++)
			set_number(h[member[i]], j, bits_double(w->x[j]));
	}
	for (int j = 0; j < width && !by_row && reason == NULL; j++)
	{
		reason = get_values(in, w->x, n, w);
		for (int i = 0; i < n && reason == NULL; i++)
		{
			if (j == 0)
				h[member[i]]->count = bits_double(w->x[i]);
			else
				set_number(h[member[i]], j, bits_double(w->x[i]));
		}
	}
	return reason;
}

/* Lays the layouts into memory and points at each histogram; they have all but counts and sums then. */
static const char *
place_histograms(PromBytes *in, int nlayouts, PromHistogram **h, int n, char *memory, PromMixedWork *w)
{
	int			m = 0;

	for (int k = 1; k <= nlayouts; k++)
	{
		const uint16 *member = w->order + w->start[k - 1];
		int			members = w->start[k] - w->start[k - 1];
		PromHistogram head;
		int			flags;
		const char *reason = get_layout(in, &head, &flags, (PromHistogram *) memory, w);

		if (reason)
			return reason;
		w->flags[k - 1] = (uint8) flags;
		for (int i = 0; i < members; i++)
		{
			h[member[i]] = (PromHistogram *) (memory + (size_t) i * head.size);
			if (i > 0)
				memcpy(h[member[i]], memory, head.size);
		}
		memory += (size_t) members * head.size;
	}
	for (int i = 0; i < n; i++)
	{
		if (w->which[i] > 0)
			h[i]->hint = w->hint[m++];
		else
			h[i] = NULL;
	}
	return NULL;
}

const char *
prom_mixed_decode(PromBytes in, uint64 *bits, PromHistogram **h, int n, void *memory, PromMixedWork *w)
{
	int			nlayouts;
	int			nfloats;
	const char *reason = get_samples(&in, n, &nlayouts, w);

	if (reason == NULL)
		reason = place_histograms(&in, nlayouts, h, n, memory, w);
	if (reason)
		return reason;
	for (int i = 0; i < n; i++)
		bits[i] = PROM_NORMAL_NAN_BITS;
	nfloats = w->start[0];
	if (nfloats > 0)
		reason = get_values(&in, w->x, nfloats, w);
	for (int i = 0; i < nfloats && reason == NULL; i++)
		bits[w->order[i]] = w->x[i];
	for (int k = 1; k <= nlayouts && reason == NULL; k++)
	{
		const uint16 *member = w->order + w->start[k - 1];
		int			members = w->start[k] - w->start[k - 1];
		bool		by_row = (w->flags[k - 1] & LAYOUT_BY_ROW) != 0;

		reason = w->flags[k - 1] & LAYOUT_FLOATS ? get_float_counts(&in, h, member, members, by_row, w) :
			get_int_counts(&in, h, member, members, by_row, w);
		if (reason == NULL)
			reason = get_values(&in, w->x, members, w);
		for (int i = 0; i < members && reason == NULL; i++)
		{
			h[member[i]]->sum = bits_double(w->x[i]);
			if (h[member[i]]->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA && h[member[i]]->zero_count != 0)
				reason = "custom buckets: must have zero count of 0";
		}
	}
	if (reason)
		return reason;
	return prom_bytes_left(&in) > 0 ? "histogram column has bytes left over" : NULL;
}
