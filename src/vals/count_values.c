/*
 * count_values.c
 *	  count_values: how many series of a group have which value.
 *
 * The result is one series per distinct value, told by its text: every NaN is the same, 0 and -0 are
 * not.  Texts are decimal, the fewest digits that read back as the same number, never with an exponent.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "common/compat.h"
#include "vals/rows.h"

PG_FUNCTION_INFO_V1(prom_agg_count_values_final);

typedef struct ValueCount
{
	double		value;			/* the key, by its bits */
	PromVals   *counts;
} ValueCount;

/* Digits before and behind the point, for what is printed as "d.ddde+xx". */
static void
append_plain(StringInfo out, const char *printed)
{
	const char *e = strchr(printed, 'e');
	int			exponent = atoi(e + 1);
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];
	int			n = 0;

	for (const char *c = printed; c < e; c++)
	{
		if (*c == '-')
			appendStringInfoChar(out, '-');
		else if (*c != '.')
			digits[n++] = *c;
	}
	if (exponent < 0)
	{
		appendStringInfoString(out, "0.");
		for (int i = -1; i > exponent; i--)
			appendStringInfoChar(out, '0');
		appendBinaryStringInfo(out, digits, n);
		return;
	}
	for (int i = 0; i < n || i <= exponent; i++)
	{
		if (i == exponent + 1)
			appendStringInfoChar(out, '.');
		appendStringInfoChar(out, i < n ? digits[i] : '0');
	}
}

static text *
value_text(double v)
{
	StringInfoData out;
	char		printed[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(v))
		return cstring_to_text("NaN");
	if (isinf(v))
		return cstring_to_text(v > 0 ? "+Inf" : "-Inf");
	double_to_shortest_decimal_buf(v, printed);
	if (strchr(printed, 'e') == NULL)
		return cstring_to_text(printed);
	initStringInfo(&out);
	append_plain(&out, printed);
	return cstring_to_text_with_len(out.data, out.len);
}

/* Each value costs a result of all steps, even if one series has it once. */
static void
check_size(long nvalues, int nsteps)
{
	if (nvalues > (long) (MaxAllocSize / PROM_VALS_SIZE(nsteps)))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("count_values has too many different values"),
				 errdetail("More than %ld values were found over %d steps.", nvalues - 1, nsteps),
				 errhint("Ask for fewer steps, or round the values.")));
}

static HTAB *
count_rows(PromRows *s)
{
	HASHCTL		info = {.keysize = sizeof(double), .entrysize = sizeof(ValueCount), .hcxt = CurrentMemoryContext};
	HTAB	   *table = hash_create("count_values", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	PromRow  *rows = prom_rows_list(s);

	for (int k = 0; k < s->nrows; k++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < s->nsteps; i++)
		{
			double		key = rows[k].vals->v[i];
			ValueCount *entry;
			bool		found;

			if (!prom_vals_has(rows[k].vals, i))
				continue;
			if (isnan(key))
				key = (double) NAN;
			entry = hash_search(table, &key, HASH_ENTER, &found);
			if (!found)
			{
				check_size(hash_get_num_entries(table), s->nsteps);
				entry->counts = prom_vals_new(s->nsteps);
			}
			prom_vals_set(entry->counts, i, entry->counts->v[i] + 1);
		}
	}
	return table;
}

/* The counts as prom._value_count[]. */
Datum
prom_agg_count_values_final(PG_FUNCTION_ARGS)
{
	HTAB	   *table = count_rows(PG_GETARG_PROM_ROWS_P(0));
	Oid			type = get_element_type(get_fn_expr_rettype(fcinfo->flinfo));
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	Datum	   *elements = palloc(sizeof(Datum) * Max(hash_get_num_entries(table), 1));
	HASH_SEQ_STATUS scan;
	ValueCount *entry;
	int			n = 0;

	hash_seq_init(&scan, table);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		Datum		values[2] = {PointerGetDatum(value_text(entry->value)), PointerGetDatum(entry->counts)};
		bool		nulls[2] = {false, false};

		CHECK_FOR_INTERRUPTS();
		elements[n++] = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	}
	ReleaseTupleDesc(desc);
	if (n == 0)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, type, -1, false, TYPALIGN_DOUBLE));
}
