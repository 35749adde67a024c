/*
 * labels.c
 *	  Canonical label sets: built, compared, hashed, looked into.
 *
 * The layout is in labels.h.  Every set that exists has passed prom_labels_build or the checks of the
 * input functions, so nothing here looks for the end of the bytes.  The hashes are stored in tables:
 * they must never change, and are the same on every machine.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/bytes.h"
#include "common/compat.h"
#include "series/labels.h"

static char *pair_fault(const PromLabel *p);
static int	compare_names(const void *a, const void *b);

PromLabels *
prom_labels_build(const PromLabel *pairs, int n, char **reason)
{
	PromLabel  *sorted;
	PromLabels *result;
	bool		in_order = true;
	int			kept = 0;

	*reason = NULL;
	if (n > PROM_LABELS_MAX)
	{
		*reason = psprintf("%d labels are more than %d", n, PROM_LABELS_MAX);
		return NULL;
	}

	sorted = palloc(Max(n, 1) * sizeof(PromLabel));
	for (int i = 0; i < n; i++)
	{
		*reason = pair_fault(&pairs[i]);
		if (*reason)
			return NULL;
		sorted[i] = pairs[i];
		if (i > 0 && compare_names(&sorted[i - 1], &sorted[i]) >= 0)
			in_order = false;
	}

	/* An empty value is an absent label, yet a name must not come twice even so. */
	if (!in_order)
		qsort(sorted, n, sizeof(PromLabel), compare_names);
	for (int i = 0; i < n; i++)
	{
		if (i > 0 && !in_order && compare_names(&sorted[i - 1], &sorted[i]) == 0)
		{
			*reason = psprintf("duplicate label name \"%s\"",
							   prom_label_shown(sorted[i].name, sorted[i].name_len));
			return NULL;
		}
	}
	for (int i = 0; i < n; i++)
	{
		if (sorted[i].value_len > 0)
			sorted[kept++] = sorted[i];
	}

	result = prom_labels_pack(sorted, kept);
	pfree(sorted);
	return result;
}

PromLabels *
prom_labels_pack(const PromLabel *pairs, int n)
{
	Size		size = VARHDRSZ + 1 + 5;
	PromLabels *l;
	uint8	   *p;

	for (int i = 0; i < n; i++)
		size += 2 * 3 + pairs[i].name_len + pairs[i].value_len;
	l = palloc(size);
	p = (uint8 *) VARDATA(l);
	*p++ = PROM_LABELS_VERSION;
	p = prom_put_varint(p, n);
	for (int i = 0; i < n; i++)
	{
		p = prom_put_varint(p, pairs[i].name_len);
		p = prom_put_varint(p, pairs[i].value_len);
		memcpy(p, pairs[i].name, pairs[i].name_len);
		p += pairs[i].name_len;
		memcpy(p, pairs[i].value, pairs[i].value_len);
		p += pairs[i].value_len;
	}
	SET_VARSIZE(l, p - (uint8 *) l);
	return l;
}

PromLabel *
prom_labels_unpack(const PromLabels *l, int *n)
{
	PromLabelWalk w = prom_label_walk(l);
	PromLabel  *pairs = palloc(Max(w.left, 1) * sizeof(PromLabel));

	*n = 0;
	while (prom_label_next(&w, &pairs[*n]))
		(*n)++;
	return pairs;
}

bool
prom_labels_get(const PromLabels *l, const char *name, int name_len,
				const char **value, int *value_len)
{
	PromLabelWalk w = prom_label_walk(l);
	PromLabel	label;

	if (name_len == 0)
		return false;
	while (prom_label_next(&w, &label))
	{
		/* most names differ in their first byte */
		int			c = (uint8) label.name[0] - (uint8) name[0];

		if (c == 0)
			c = prom_bytes_cmp(label.name, label.name_len, name, name_len);
		if (c > 0)
			return false;
		if (c == 0)
		{
			*value = label.value;
			*value_len = label.value_len;
			return true;
		}
	}
	return false;
}

/* How many bytes two texts of n bytes have in common in front. */
static inline uint32
common_prefix(const uint8 *a, const uint8 *b, uint32 n)
{
	uint32		i = 0;

	for (; i + sizeof(uint64) <= n; i += sizeof(uint64))
	{
		uint64		x;
		uint64		y;

		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		if (x != y)
			break;
	}
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

/* Step over the labels that both sets have in front: a pair whose bytes are the same in one is one in the other as well. */
static void
skip_common(PromLabelWalk *wa, const PromLabels *a, PromLabelWalk *wb, const PromLabels *b)
{
	const uint8 *end_a = (const uint8 *) VARDATA_ANY(a) + VARSIZE_ANY_EXHDR(a);
	const uint8 *end_b = (const uint8 *) VARDATA_ANY(b) + VARSIZE_ANY_EXHDR(b);
	const uint8 *differs = wa->at + common_prefix(wa->at, wb->at, Min(end_a - wa->at, end_b - wb->at));
	PromLabelWalk next = *wa;
	PromLabel	label;

	while (prom_label_next(&next, &label) && next.at <= differs)
	{
		wb->at += next.at - wa->at;
		wb->left--;
		*wa = next;
	}
}

int
prom_labels_cmp(const PromLabels *a, const PromLabels *b)
{
	PromLabelWalk wa = prom_label_walk(a);
	PromLabelWalk wb = prom_label_walk(b);
	PromLabel	la,
				lb;

	/* most of two sets are the same */
	skip_common(&wa, a, &wb, b);
	while (prom_label_next(&wa, &la))
	{
		int			c;

		if (!prom_label_next(&wb, &lb))
			return 1;
		c = prom_bytes_cmp(la.name, la.name_len, lb.name, lb.name_len);
		if (c == 0)
			c = prom_bytes_cmp(la.value, la.value_len, lb.value, lb.value_len);
		if (c != 0)
			return c < 0 ? -1 : 1;
	}
	return wb.left > 0 ? -1 : 0;
}

uint64
prom_labels_hash(const PromLabels *l)
{
	return XXH3_64bits(VARDATA_ANY(l), VARSIZE_ANY_EXHDR(l));
}

int32
prom_pair_hash(const char *name, int name_len, const char *value, int value_len)
{
	return (int32) (uint32) XXH3_64bits_withSeed(value, value_len, XXH3_64bits(name, name_len));
}

/* What is wrong with one pair, or NULL. */
static char *
pair_fault(const PromLabel *p)
{
	const char *name = p->name;
	int			len = p->name_len;

	if (len == 0)
		return pstrdup("label name is empty");
	if (len > PROM_LABEL_NAME_MAX)
		return psprintf("label name \"%s...\" is longer than %d bytes",
						prom_label_shown(name, len), PROM_LABEL_NAME_MAX);
	if (!pg_verify_mbstr(PG_UTF8, name, len, true))
		return pstrdup("label name is not valid UTF-8");
	if (p->value_len > PROM_LABEL_VALUE_MAX)
		return psprintf("value of label \"%s\" is longer than %d bytes",
						prom_label_shown(name, len), PROM_LABEL_VALUE_MAX);
	if (!pg_verify_mbstr(PG_UTF8, p->value, p->value_len, true))
		return psprintf("value of label \"%s\" is not valid UTF-8", prom_label_shown(name, len));
	return NULL;
}

static int
compare_names(const void *a, const void *b)
{
	const PromLabel *la = a;
	const PromLabel *lb = b;

	return prom_bytes_cmp(la->name, la->name_len, lb->name, lb->name_len);
}

/* A name for a message: valid UTF-8, and short. */
char *
prom_label_shown(const char *name, int len)
{
	int			valid = pg_encoding_verifymbstr(PG_UTF8, name, Min(len, 100));

	return pnstrdup(name, valid);
}
