/*
 * labels.h
 *	  Bytes of a label set, private to this room.
 *
 * After the varlena header:
 *
 *		+---------+-----------+  n times  +-------------+--------------+------+-------+
 *		| version | n, varint |           | name length | value length | name | value |
 *		+---------+-----------+           +-------------+--------------+------+-------+
 *		 1 byte                             varint        varint
 *
 * Pairs are sorted by name, bytewise.  Varints are as short as possible, so two sets are equal when
 * their bytes are.
 */
#ifndef PROM_LABELS_H
#define PROM_LABELS_H

#include "series/series.h"

#define PROM_LABELS_VERSION 1

/* Label sets are only made by prom_labels_build and by the checked input functions: a walk trusts them. */
typedef struct PromLabelWalk
{
	const uint8 *at;
	uint32		left;
} PromLabelWalk;

static inline uint32
prom_label_varint(const uint8 **at)
{
	const uint8 *p = *at;
	uint32		v = *p & 0x7f;

	for (int shift = 7; *p >= 0x80; shift += 7)
		v |= (uint32) (*++p & 0x7f) << shift;
	*at = p + 1;
	return v;
}

static inline PromLabelWalk
prom_label_walk(const PromLabels *l)
{
	PromLabelWalk w = {(const uint8 *) VARDATA_ANY(l) + 1, 0};

	w.left = prom_label_varint(&w.at);
	return w;
}

static inline bool
prom_label_next(PromLabelWalk *w, PromLabel *label)
{
	if (w->left == 0)
		return false;
	w->left--;
	label->name_len = prom_label_varint(&w->at);
	label->value_len = prom_label_varint(&w->at);
	label->name = (const char *) w->at;
	label->value = label->name + label->name_len;
	w->at = (const uint8 *) label->value + label->value_len;
	return true;
}

static inline int
prom_bytes_cmp(const char *a, int a_len, const char *b, int b_len)
{
	int			c = memcmp(a, b, Min(a_len, b_len));

	return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

/* A set of pairs that are already sorted, unique and checked. */
extern PromLabels *prom_labels_pack(const PromLabel *pairs, int n);

/* labels_text.c: the pairs of a text, palloc'd; raises on a syntax error. */
extern PromLabel *prom_labels_parse(const char *text, int *n);

#endif							/* PROM_LABELS_H */
