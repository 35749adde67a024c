/*
 * count_values.c
 *	  count_values: how many series of a group have which value.
 *
 * The result is one series per distinct value, told by its text: every NaN is the same, 0 and -0 are
 * not; histograms are what they are printed as.  Texts of numbers are decimal, the fewest digits that read back as the same number, never with an exponent.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
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
#include "histogram/text.h"
#include "vals/rows.h"

PG_FUNCTION_INFO_V1(prom_agg_count_values_final);

typedef struct ValueCount
{
	double		value;			/* the key, by its bits */
	PromVals   *counts;
} ValueCount;

/* The same of a histogram, whose key is its text. */
typedef struct TextCount
{
	const char *text;
	PromVals   *counts;
} TextCount;

typedef struct Counts
{
	HTAB	   *values;
	HTAB	   *texts;
	int			nsteps;
} Counts;

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

static char *
histogram_text(const PromHistogram *h)
{
	StringInfoData out;

	initStringInfo(&out);
	prom_histogram_print(&out, h);
	return out.data;
}

static uint32
hash_text(const void *key, Size keysize)
{
	const char *text = *(const char *const *) key;

	return string_hash(text, strlen(text) + 1);
}

static int
compare_texts(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
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

static Counts
new_counts(int nsteps)
{
	HASHCTL		values = {.keysize = sizeof(double), .entrysize = sizeof(ValueCount), .hcxt = CurrentMemoryContext};
	HASHCTL		texts = {.keysize = sizeof(char *), .entrysize = sizeof(TextCount), .hcxt = CurrentMemoryContext,
	.hash = hash_text, .match = compare_texts};
	Counts		c = {.nsteps = nsteps};

	c.values = hash_create("count_values", 64, &values, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	c.texts = hash_create("count_values of histograms", 64, &texts,
						  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	return c;
}

static long
count_entries(const Counts *c)
{
	return hash_get_num_entries(c->values) + hash_get_num_entries(c->texts);
}

/* One more at step i, in the counts of an entry; they are made if it was not found. */
static void
count_one(const Counts *c, PromVals **counts, bool found, int i)
{
	if (!found)
	{
		check_size(count_entries(c), c->nsteps);
		*counts = prom_vals_new(c->nsteps);
	}
	prom_vals_set(*counts, i, (*counts)->v[i] + 1);
}

static void
count_value(const Counts *c, double value, int i)
{
	ValueCount *entry;
	bool		found;

	if (isnan(value))
		value = (double) NAN;
	entry = hash_search(c->values, &value, HASH_ENTER, &found);
	count_one(c, &entry->counts, found, i);
}

static void
count_histogram(const Counts *c, const PromHistogram *h, int i)
{
	char	   *text = histogram_text(h);
	TextCount  *entry;
	bool		found;

	entry = hash_search(c->texts, &text, HASH_ENTER, &found);
	if (found)
		pfree(text);
	count_one(c, &entry->counts, found, i);
}

static Counts
count_rows(PromRows *s)
{
	Counts		c = new_counts(s->nsteps);
	PromRow  *rows = prom_rows_list(s);

	for (int k = 0; k < s->nrows; k++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < s->nsteps; i++)
		{
			const PromHistogram *h = prom_vals_histogram(rows[k].vals, i);

			if (h)
				count_histogram(&c, h, i);
			else if (prom_vals_has(rows[k].vals, i))
				count_value(&c, rows[k].vals->v[i], i);
		}
	}
	return c;
}

static Datum
make_element(TupleDesc desc, text *value, PromVals *counts)
{
	Datum		values[2] = {PointerGetDatum(value), PointerGetDatum(counts)};
	bool		nulls[2] = {false, false};

	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* The counts as prom._value_count[]. */
Datum
prom_agg_count_values_final(PG_FUNCTION_ARGS)
{
	Counts		c = count_rows(PG_GETARG_PROM_ROWS_P(0));
	Oid			type = get_element_type(get_fn_expr_rettype(fcinfo->flinfo));
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	Datum	   *elements = palloc(sizeof(Datum) * Max(count_entries(&c), 1));
	HASH_SEQ_STATUS scan;
	ValueCount *of_value;
	TextCount  *of_text;
	int			n = 0;

	hash_seq_init(&scan, c.values);
	while ((of_value = hash_seq_search(&scan)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		elements[n++] = make_element(desc, value_text(of_value->value), of_value->counts);
	}
	hash_seq_init(&scan, c.texts);
	while ((of_text = hash_seq_search(&scan)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		elements[n++] = make_element(desc, cstring_to_text(of_text->text), of_text->counts);
	}
	ReleaseTupleDesc(desc);
	if (n == 0)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, type, -1, false, TYPALIGN_DOUBLE));
}
