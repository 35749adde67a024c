/*
 * labels_sql.c
 *	  The SQL type prom.labels: input, output, casts, operators, and what translated queries call.
 *
 * Text and binary input make canonical sets or raise.  Functions that only take labels away copy what
 * stays, in order, and give back their argument when nothing goes.
 */
#include "postgres.h"

#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/sortsupport.h"
#include "utils/jsonb.h"

#include "common/bytes.h"
#include "common/compat.h"
#include "series/labels.h"

PG_FUNCTION_INFO_V1(prom_labels_in);
PG_FUNCTION_INFO_V1(prom_labels_out);
PG_FUNCTION_INFO_V1(prom_legend);
PG_FUNCTION_INFO_V1(prom_labels_recv);
PG_FUNCTION_INFO_V1(prom_labels_send);
PG_FUNCTION_INFO_V1(prom_labels_from_jsonb);
PG_FUNCTION_INFO_V1(prom_labels_to_jsonb);
PG_FUNCTION_INFO_V1(prom_label);
PG_FUNCTION_INFO_V1(prom_labels_keep);
PG_FUNCTION_INFO_V1(prom_labels_drop);
PG_FUNCTION_INFO_V1(prom_label_pair);
PG_FUNCTION_INFO_V1(prom_label_pairs);
PG_FUNCTION_INFO_V1(prom_labels_eq);
PG_FUNCTION_INFO_V1(prom_labels_ne);
PG_FUNCTION_INFO_V1(prom_labels_lt);
PG_FUNCTION_INFO_V1(prom_labels_le);
PG_FUNCTION_INFO_V1(prom_labels_gt);
PG_FUNCTION_INFO_V1(prom_labels_ge);
PG_FUNCTION_INFO_V1(prom_labels_compare);
PG_FUNCTION_INFO_V1(prom_labels_sortsupport);
PG_FUNCTION_INFO_V1(prom_labels_hash4);
PG_FUNCTION_INFO_V1(prom_labels_hash8);

static PromLabels *build_or_raise(const PromLabel *pairs, int n, int code);
static PromLabel *take_pairs(PromBytes *b, int *n);
static PromLabel *jsonb_pairs(Jsonb *jb, int *n);
static PromLabel *name_list(ArrayType *names, int *n);
static bool is_listed(const PromLabel *label, const PromLabel *names, int n);
static int	compare_args(FunctionCallInfo fcinfo);
static bool equal_args(FunctionCallInfo fcinfo);

PromLabels *
prom_labels_from_text(const char *text)
{
	int			n;
	PromLabel  *pairs = prom_labels_parse(text, &n);

	return build_or_raise(pairs, n, ERRCODE_INVALID_TEXT_REPRESENTATION);
}

Datum
prom_labels_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(prom_labels_from_text(PG_GETARG_CSTRING(0)));
}

Datum
prom_labels_out(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	StringInfoData out;

	initStringInfo(&out);
	prom_labels_print(&out, l);
	PG_FREE_IF_COPY(l, 0);
	PG_RETURN_CSTRING(out.data);
}

/* legend(labels) */
Datum
prom_legend(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	initStringInfo(&out);
	prom_labels_print_legend(&out, PG_GETARG_PROM_LABELS_P(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

Datum
prom_labels_recv(PG_FUNCTION_ARGS)
{
	StringInfo	msg = (StringInfo) PG_GETARG_POINTER(0);
	int			len = msg->len - msg->cursor;
	const char *bytes = pq_getmsgbytes(msg, len);
	PromBytes	b = prom_bytes(bytes, len);
	int			n;
	PromLabel  *pairs = take_pairs(&b, &n);
	PromLabels *l = build_or_raise(pairs, n, ERRCODE_INVALID_BINARY_REPRESENTATION);

	if (VARSIZE_ANY_EXHDR(l) != len || memcmp(VARDATA_ANY(l), bytes, len) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("label set is not in canonical form"),
				 errdetail("Labels must be sorted by name, without empty values, their lengths in the shortest form.")));
	PG_RETURN_POINTER(l);
}

Datum
prom_labels_send(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	StringInfoData msg;

	pq_begintypsend(&msg);
	pq_sendbytes(&msg, VARDATA_ANY(l), VARSIZE_ANY_EXHDR(l));
	PG_FREE_IF_COPY(l, 0);
	PG_RETURN_BYTEA_P(pq_endtypsend(&msg));
}

Datum
prom_labels_from_jsonb(PG_FUNCTION_ARGS)
{
	int			n;
	PromLabel  *pairs = jsonb_pairs(PG_GETARG_JSONB_P(0), &n);

	PG_RETURN_POINTER(build_or_raise(pairs, n, ERRCODE_INVALID_PARAMETER_VALUE));
}

Datum
prom_labels_to_jsonb(PG_FUNCTION_ARGS)
{
	PromLabelWalk w = prom_label_walk(PG_GETARG_PROM_LABELS_P(0));
	JsonbParseState *state = NULL;
	JsonbValue *object;
	PromLabel	label;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (prom_label_next(&w, &label))
	{
		JsonbValue	v = {.type = jbvString};

		v.val.string.val = unconstify(char *, label.name);
		v.val.string.len = label.name_len;
		pushJsonbValue(&state, WJB_KEY, &v);
		v.val.string.val = unconstify(char *, label.value);
		v.val.string.len = label.value_len;
		pushJsonbValue(&state, WJB_VALUE, &v);
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(object));
}

Datum
prom_label(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	text	   *name = PG_GETARG_TEXT_PP(1);
	const char *value;
	int			len;

	if (!prom_labels_get(l, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &value, &len))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(value, len));
}

Datum
prom_labels_keep(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	int			nnames;
	PromLabel  *names = name_list(PG_GETARG_ARRAYTYPE_P(1), &nnames);
	PromLabelWalk w = prom_label_walk(l);
	PromLabel  *kept = palloc(Max(w.left, 1) * sizeof(PromLabel));
	int			n = 0;

	while (prom_label_next(&w, &kept[n]))
		n += is_listed(&kept[n], names, nnames);
	PG_RETURN_POINTER(prom_labels_pack(kept, n));
}

Datum
prom_labels_drop(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	int			nnames;
	PromLabel  *names = name_list(PG_GETARG_ARRAYTYPE_P(1), &nnames);
	PromLabelWalk w = prom_label_walk(l);
	int			total = w.left;
	PromLabel  *kept = palloc(Max(total, 1) * sizeof(PromLabel));
	int			n = 0;

	while (prom_label_next(&w, &kept[n]))
		n += !is_listed(&kept[n], names, nnames);
	PG_RETURN_POINTER(n == total ? l : prom_labels_pack(kept, n));
}

Datum
prom_label_pair(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	text	   *value = PG_GETARG_TEXT_PP(1);

	PG_RETURN_INT32(prom_pair_hash(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name),
								   VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

Datum
prom_label_pairs(PG_FUNCTION_ARGS)
{
	PromLabelWalk w = prom_label_walk(PG_GETARG_PROM_LABELS_P(0));
	Datum	   *hashes = palloc(Max(w.left, 1) * sizeof(Datum));
	PromLabel	label;
	int			n = 0;

	while (prom_label_next(&w, &label))
		hashes[n++] = Int32GetDatum(prom_pair_hash(label.name, label.name_len,
												   label.value, label.value_len));
	PG_RETURN_ARRAYTYPE_P(construct_array(hashes, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

Datum
prom_labels_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(equal_args(fcinfo));
}

Datum
prom_labels_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!equal_args(fcinfo));
}

Datum
prom_labels_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) < 0);
}

Datum
prom_labels_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) <= 0);
}

Datum
prom_labels_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) > 0);
}

Datum
prom_labels_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) >= 0);
}

Datum
prom_labels_compare(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_args(fcinfo));
}

Datum
prom_labels_hash4(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	uint32		hash = (uint32) prom_labels_hash(l);

	PG_FREE_IF_COPY(l, 0);
	PG_RETURN_INT32((int32) hash);
}

/* With seed 0 the low half must be what the 32-bit function returns. */
Datum
prom_labels_hash8(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	uint64		seed = (uint64) PG_GETARG_INT64(1);
	uint64		hash = prom_labels_hash(l);

	PG_FREE_IF_COPY(l, 0);
	if (seed != 0)
		hash = DatumGetUInt64(hash_any_extended((unsigned char *) &hash, sizeof(hash), seed));
	PG_RETURN_INT64((int64) hash);
}

static PromLabels *
build_or_raise(const PromLabel *pairs, int n, int code)
{
	char	   *reason;
	PromLabels *l = prom_labels_build(pairs, n, &reason);

	if (l == NULL)
		ereport(ERROR, (errcode(code), errmsg("invalid label set: %s", reason)));
	return l;
}

/* The pairs of foreign bytes, every length checked. */
static PromLabel *
take_pairs(PromBytes *b, int *n)
{
	int			version = prom_bytes_u8(b);
	uint64		count = 0;
	PromLabel  *pairs;

	if (!b->bad && version == PROM_LABELS_VERSION)
		count = prom_bytes_varint(b);
	else if (!b->bad)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported version %d of a label set", version)));
	if (count > PROM_LABELS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("label set claims more than %d labels", PROM_LABELS_MAX)));
	pairs = palloc(Max(count, 1) * sizeof(PromLabel));
	for (uint64 i = 0; i < count && !b->bad; i++)
	{
		uint64		name_len = prom_bytes_varint(b);
		uint64		value_len = prom_bytes_varint(b);

		pairs[i].name = (const char *) prom_bytes_take(b, name_len);
		pairs[i].value = (const char *) prom_bytes_take(b, value_len);
		pairs[i].name_len = (int) name_len;
		pairs[i].value_len = (int) value_len;
	}
	if (b->bad)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("label set is truncated")));
	*n = (int) count;
	return pairs;
}

/* The members of an object of strings. */
static PromLabel *
jsonb_pairs(Jsonb *jb, int *n)
{
	PromLabel  *pairs = palloc(Max(JB_ROOT_COUNT(jb), 1) * sizeof(PromLabel));
	JsonbIterator *it = JsonbIteratorInit(&jb->root);
	JsonbIteratorToken token;
	JsonbValue	v;

	*n = 0;
	if (!JB_ROOT_IS_OBJECT(jb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("labels must be a JSON object")));
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		PromLabel  *p = &pairs[*n];

		if (token == WJB_KEY)
		{
			p->name = v.val.string.val;
			p->name_len = v.val.string.len;
		}
		else if (token == WJB_VALUE)
		{
			if (v.type != jbvString)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("value of label \"%.*s\" is not a JSON string",
								Min(p->name_len, 100), p->name)));
			p->value = v.val.string.val;
			p->value_len = v.val.string.len;
			(*n)++;
		}
	}
	return pairs;
}

/* The elements of a text[], as names; NULLs name nothing. */
static PromLabel *
name_list(ArrayType *names, int *n)
{
	int			count = ArrayGetNItems(ARR_NDIM(names), ARR_DIMS(names));
	PromLabel  *list = palloc(Max(count, 1) * sizeof(PromLabel));
	bits8	   *nulls = ARR_NULLBITMAP(names);
	char	   *at = ARR_DATA_PTR(names);

	*n = 0;
	for (int i = 0; i < count; i++)
	{
		if (nulls && !(nulls[i / 8] & (1 << (i % 8))))
			continue;
		at = (char *) att_align_pointer(at, TYPALIGN_INT, -1, at);
		list[*n].name = VARDATA_ANY(at);
		list[(*n)++].name_len = VARSIZE_ANY_EXHDR(at);
		at = att_addlength_pointer(at, -1, at);
	}
	return list;
}

static bool
is_listed(const PromLabel *label, const PromLabel *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (label->name_len == names[i].name_len &&
			memcmp(label->name, names[i].name, label->name_len) == 0)
			return true;
	}
	return false;
}

static int
compare_args(FunctionCallInfo fcinfo)
{
	PromLabels *a = PG_GETARG_PROM_LABELS_P(0);
	PromLabels *b = PG_GETARG_PROM_LABELS_P(1);
	int			c = prom_labels_cmp(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return c;
}

static int
compare_sorted(Datum x, Datum y, SortSupport support)
{
	PromLabels *a = DatumGetPromLabelsP(x);
	PromLabels *b = DatumGetPromLabelsP(y);
	int			c = prom_labels_cmp(a, b);

	if ((Pointer) a != DatumGetPointer(x))
		pfree(a);
	if ((Pointer) b != DatumGetPointer(y))
		pfree(b);
	return c;
}

/* labels_sortsupport(internal): comparisons of a sort without the way through SQL */
Datum
prom_labels_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport support = (SortSupport) PG_GETARG_POINTER(0);

	support->comparator = compare_sorted;
	PG_RETURN_VOID();
}

static bool
equal_args(FunctionCallInfo fcinfo)
{
	PromLabels *a = PG_GETARG_PROM_LABELS_P(0);
	PromLabels *b = PG_GETARG_PROM_LABELS_P(1);
	Size		len = VARSIZE_ANY_EXHDR(a);
	bool		equal = len == VARSIZE_ANY_EXHDR(b) && memcmp(VARDATA_ANY(a), VARDATA_ANY(b), len) == 0;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return equal;
}
