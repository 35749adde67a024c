/*
 * meta.c
 *	  Labels, label values, series, and what senders told about metrics.
 *
 * In the gateway: parameters to a statement.  In the backend: selectors become a condition on
 * prom.series, and what it yields is printed.  Names and values without a selector or a time come from
 * prom.label_value, which is small and sorted; but who sees only some of the series, by row security,
 * gets them from the series.  Where there are many series, a time without a selector narrows the answer by blocks of
 * series, whose rows are not looked into, and where there are very many it does not: it may be answered
 * with more than asked for.  Where there are few, metrics share blocks, and each series is looked for.
 *
 * Where replicas are merged (promgres.replica_labels) their series are told as one, and their labels' names are
 * not told; the values of such a label are, to whom asks for them: they can be matched.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "api/fragments.h"
#include "api/gateway.h"
#include "common/clock.h"
#include "promql/promql.h"
#include "select/select.h"
#include "store/store.h"

#define PROM_META_FETCH 1000
#define PROM_META_MAX_NARROWED 200000
#define PROM_META_MAX_EXACT 10000

/* ---- in the gateway ---- */

/* Parameters that the three endpoints share: match[], start, end, limit; then ask. */
static void
ask_series(PromRequest *r, const char *sql, bool match_required)
{
	int			limit;
	int			nmatches;
	int64		start_ms;
	int64		end_ms;
	char	   *matches = prom_param_array(r, "match[]", &nmatches);

	if (!prom_param_limit(r, "limit", &limit))
		return;
	if (match_required && nmatches == 0)
	{
		prom_answer_error(r, 400, "bad_data", "no match[] parameter provided");
		return;
	}
	if (!prom_param_time_or(r, "start", PROM_MIN_TIMESTAMP_MS, &start_ms) ||
		!prom_param_time_or(r, "end", PROM_MAX_TIMESTAMP_MS, &end_ms))
		return;

	r->job.sql = sql;
	r->job.kept = true;
	prom_job_param(&r->job, TEXTARRAYOID, matches);
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, start_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, end_ms));
	prom_job_param(&r->job, INT4OID, psprintf("%d", limit));
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	r->job.parameter = "match[]";
	prom_thanos_add(r);
	prom_request_ask(r, prom_pool_query);
}

void
prom_labels_run(PromRequest *r)
{
	ask_series(r, "SELECT prom._api_labels($1, $2, $3, $4)", false);
}

void
prom_series_run(PromRequest *r)
{
	ask_series(r, "SELECT prom._api_series($1, $2, $3, $4)", true);
}

/*
 * Undo the escaping of names for legacy systems: U__ in front, "__" is "_", "_2e_" is the code point.
 * Anything malformed is a name as it stands.
 */
static char *
unescape_name(char *name)
{
	StringInfoData out;

	if (strncmp(name, "U__", 3) != 0)
		return name;
	initStringInfo(&out);
	for (const char *p = name + 3; *p != '\0'; p++)
	{
		unsigned char utf8[5] = {0};
		char	   *end;
		unsigned long code;

		if (*p != '_')
			appendStringInfoChar(&out, *p);
		else if (p[1] == '_')
		{
			appendStringInfoChar(&out, '_');
			p++;
		}
		else
		{
			size_t		len = strspn(p + 1, "0123456789abcdefABCDEF");

			code = strtoul(p + 1, &end, 16);
			if (len < 1 || len > 6 || *end != '_' || !is_valid_unicode_codepoint(code))
				return name;
			unicode_to_utf8(code, utf8);
			appendStringInfoString(&out, (char *) utf8);
			p = end;
		}
	}
	return out.data;
}

void
prom_label_values_run(PromRequest *r)
{
	char	   *name = pstrdup(r->path + strlen("/api/v1/label/"));

	*strchr(name, '/') = '\0';
	if (!prom_param_segment(name) || name[0] == '\0')
	{
		prom_answer_error(r, 400, "bad_data", "invalid label name: %s", prom_param_quote(name));
		return;
	}
	prom_job_param(&r->job, TEXTOID, unescape_name(name));
	ask_series(r, "SELECT prom._api_label_values($1, $2, $3, $4, $5)", false);
}

void
prom_metadata_run(PromRequest *r)
{
	int			limit;
	int			limit_per_metric;

	if (!prom_param_limit(r, "limit", &limit) || !prom_param_limit(r, "limit_per_metric", &limit_per_metric))
		return;
	r->job.sql = "SELECT prom._api_metadata($1, $2, $3)";
	prom_job_param(&r->job, TEXTOID, prom_request_param(r, "metric"));
	prom_job_param(&r->job, INT4OID, psprintf("%d", limit));
	prom_job_param(&r->job, INT4OID, psprintf("%d", limit_per_metric));
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	prom_request_ask(r, prom_pool_query);
}

/* ---- in the backend ---- */

PG_FUNCTION_INFO_V1(prom_api_labels);
PG_FUNCTION_INFO_V1(prom_api_label_values);
PG_FUNCTION_INFO_V1(prom_api_series);

/* A set of strings. */
typedef struct TextKey
{
	const char *data;
	int			len;
} TextKey;

typedef struct TextSet
{
	HTAB	   *hash;
	MemoryContext context;		/* of the strings */
} TextSet;

static uint32
text_key_hash(const void *key, Size size)
{
	const TextKey *k = key;

	return hash_bytes((const unsigned char *) k->data, k->len);
}

static int
text_key_match(const void *a, const void *b, Size size)
{
	const TextKey *x = a;
	const TextKey *y = b;

	return x->len == y->len ? memcmp(x->data, y->data, x->len) : 1;
}

static void *
text_key_copy(void *dest, const void *src, Size size)
{
	return memcpy(dest, src, size);
}

static TextSet
make_set(void)
{
	TextSet		set;
	HASHCTL		ctl = {0};

	set.context = CurrentMemoryContext;
	ctl.keysize = sizeof(TextKey);
	ctl.entrysize = sizeof(TextKey);
	ctl.hash = text_key_hash;
	ctl.match = text_key_match;
	ctl.keycopy = text_key_copy;
	ctl.hcxt = CurrentMemoryContext;
	set.hash = hash_create("promgres texts", 256, &ctl,
						   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_KEYCOPY | HASH_CONTEXT);
	return set;
}

static void
add_to_set(TextSet *set, const char *data, int len)
{
	TextKey		key = {data, len};
	TextKey    *entry;
	bool		found;

	entry = hash_search(set->hash, &key, HASH_ENTER, &found);
	if (!found)
	{
		char	   *copy = MemoryContextAlloc(set->context, Max(len, 1));

		memcpy(copy, data, len);
		entry->data = copy;
	}
}

static int
compare_keys(const void *a, const void *b)
{
	const TextKey *x = a;
	const TextKey *y = b;
	int			c = memcmp(x->data, y->data, Min(x->len, y->len));

	return c != 0 ? c : x->len - y->len;
}

static void
print_set(PromFragments *f, TextSet *set)
{
	long		n = hash_get_num_entries(set->hash);
	TextKey    *all = MemoryContextAllocHuge(CurrentMemoryContext, (n + 1) * sizeof(TextKey));
	HASH_SEQ_STATUS seq;
	TextKey    *entry;
	long		i = 0;

	hash_seq_init(&seq, set->hash);
	while ((entry = hash_seq_search(&seq)) != NULL)
		all[i++] = *entry;
	qsort(all, n, sizeof(TextKey), compare_keys);
	for (i = 0; i < n; i++)
	{
		StringInfo	out = prom_fragments_element(f);

		if (out == NULL)
			break;
		prom_json_string(out, all[i].data, all[i].len);
	}
}

static void for_each_value(const char *sql, int nargs, Oid *types, Datum *args,
						   void (*fn) (void *arg, Datum value), void *arg);

static void
take_count(void *arg, Datum value)
{
	*(int64 *) arg = DatumGetInt64(value);
}

/* 0 for those who see only some. */
static int64
count_series(void)
{
	int64		series = 0;

	for_each_value("SELECT pg_catalog.sum(h.series)::pg_catalog.int8 FROM prom._shard AS h", 0, NULL, NULL, take_count, &series);
	return series;
}

static bool
has_time(int64 start_ms, int64 end_ms)
{
	return start_ms > PROM_MIN_TIMESTAMP_MS || end_ms < PROM_MAX_TIMESTAMP_MS;
}

/* The condition on a row s of prom.series to satisfy any of the selectors, of which there may be none. */
static char *
any_matches(ArrayType *matches)
{
	StringInfoData sql;
	Datum	   *texts;
	bool	   *nulls;
	int			n;

	deconstruct_array(matches, TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &n);
	initStringInfo(&sql);
	for (int i = 0; i < n; i++)
	{
		PromMatcher *matchers;
		int			nmatchers;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("selector must not be null")));
		matchers = promql_parse_selector(TextDatumGetCString(texts[i]), &nmatchers);
		appendStringInfoString(&sql, i == 0 ? "(" : " OR ");
		prom_matchers_sql(&sql, "s", matchers, nmatchers);
	}
	appendStringInfoString(&sql, n > 0 ? ")" : "true");
	return sql.data;
}

/*
 * The statement that yields the labels of the series which satisfy any of the selectors and have samples
 * between the times, or about there: a superset may be answered.  sorted: each once, replicas as one.
 */
static char *
series_sql(ArrayType *matches, int64 start_ms, int64 end_ms, bool sorted)
{
	StringInfoData sql;
	char	   *condition = any_matches(matches);
	int			n = ArrayGetNItems(ARR_NDIM(matches), ARR_DIMS(matches));

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	if (sorted && prom_dedup_labels() != NIL)
	{
		appendStringInfoString(&sql, "DISTINCT ");
		prom_dedup_labels_sql(&sql, "s.labels", prom_dedup_labels());
	}
	else
		appendStringInfoString(&sql, "s.labels");
	appendStringInfoString(&sql, " FROM ");
	if (has_time(start_ms, end_ms))
	{
		PromScanRange range = {start_ms - 1, end_ms};

		if (n > 0 || count_series() <= PROM_META_MAX_EXACT)
			prom_active_sql(&sql, condition, range);
		else
			prom_active_block_sql(&sql, condition, range);
	}
	else
		appendStringInfo(&sql, "prom.series AS s WHERE %s", condition);
	if (sorted)
		appendStringInfoString(&sql, " ORDER BY 1");
	return sql.data;
}

/* Run a statement of one column that is not null; fn gets its values, its memory is short-lived. */
static void
for_each_value(const char *sql, int nargs, Oid *types, Datum *args,
			   void (*fn) (void *arg, Datum value), void *arg)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext row;
	Portal		portal;

	SPI_connect();
	row = AllocSetContextCreate(CurrentMemoryContext, "promgres row", ALLOCSET_DEFAULT_SIZES);
	portal = nargs == 0 ? promql_open_portal(sql) :
		SPI_cursor_open_with_args(NULL, sql, nargs, types, args, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, PROM_META_FETCH);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum		value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

			CHECK_FOR_INTERRUPTS();
			MemoryContextSwitchTo(row);
			if (!isnull)
				fn(arg, value);
			MemoryContextReset(row);
		}
		MemoryContextSwitchTo(outer);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

/* Must names and values be gathered from the series? */
static bool
needs_series(ArrayType *matches, int64 start_ms, int64 end_ms)
{
	if (ARR_NDIM(matches) > 0 || prom_series_restricted())
		return true;
	return has_time(start_ms, end_ms) && count_series() <= PROM_META_MAX_NARROWED;
}

/* Replica labels are in no series that a query shows. */
static void
remove_names(TextSet *set, List *names)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		TextKey		key = {lfirst(lc), strlen(lfirst(lc))};

		(void) hash_search(set->hash, &key, HASH_REMOVE, NULL);
	}
}

static void
add_name(void *arg, Datum value)
{
	text	   *name = DatumGetTextPP(value);

	add_to_set(arg, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

static void
add_names(void *arg, Datum value)
{
	TextSet    *set = arg;
	int			n;
	PromLabel  *label = prom_labels_unpack(DatumGetPromLabelsP(value), &n);

	for (int i = 0; i < n; i++)
		add_to_set(set, label[i].name, label[i].name_len);
}

typedef struct ValueWalk
{
	TextSet    *set;
	const char *name;
} ValueWalk;

static void
add_value(void *arg, Datum value)
{
	ValueWalk  *walk = arg;
	const char *data;
	int			len;

	if (prom_labels_get(DatumGetPromLabelsP(value), walk->name, strlen(walk->name), &data, &len))
		add_to_set(walk->set, data, len);
}

static void
print_text(void *arg, Datum value)
{
	text	   *t = DatumGetTextPP(value);
	StringInfo	out = prom_fragments_element(arg);

	if (out != NULL)
		prom_json_string(out, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

static void
print_labels(void *arg, Datum value)
{
	StringInfo	out = prom_fragments_element(arg);

	if (out != NULL)
		prom_fragments_labels(out, DatumGetPromLabelsP(value));
}

#define LABEL_NAMES_SQL \
	"SELECT n.name FROM prom._label_name AS n"

#define LABEL_VALUES_SQL \
	"SELECT DISTINCT v.value COLLATE \"C\" FROM prom._label_value AS v" \
	" WHERE v.name OPERATOR(pg_catalog.=) $1 ORDER BY 1"

Datum
prom_api_labels(PG_FUNCTION_ARGS)
{
	ArrayType  *matches = PG_GETARG_ARRAYTYPE_P(0);
	TextSet		set = make_set();
	PromFragments f;

	prom_fragments_begin(&f, fcinfo, PG_GETARG_INT32(3));
	appendStringInfoChar(&f.buf, '[');
	if (!needs_series(matches, PG_GETARG_INT64(1), PG_GETARG_INT64(2)))
		for_each_value(LABEL_NAMES_SQL, 0, NULL, NULL, add_name, &set);
	else
		for_each_value(series_sql(matches, PG_GETARG_INT64(1), PG_GETARG_INT64(2), false), 0, NULL, NULL, add_names, &set);
	remove_names(&set, prom_dedup_labels());
	print_set(&f, &set);
	appendStringInfoChar(&f.buf, ']');
	prom_fragments_end(&f);
	return (Datum) 0;
}

Datum
prom_api_label_values(PG_FUNCTION_ARGS)
{
	Datum		name = PG_GETARG_DATUM(0);
	ArrayType  *matches = PG_GETARG_ARRAYTYPE_P(1);
	Oid			type = TEXTOID;
	PromFragments f;

	prom_fragments_begin(&f, fcinfo, PG_GETARG_INT32(4));
	appendStringInfoChar(&f.buf, '[');
	if (!needs_series(matches, PG_GETARG_INT64(2), PG_GETARG_INT64(3)))
		for_each_value(LABEL_VALUES_SQL, 1, &type, &name, print_text, &f);
	else
	{
		TextSet		set = make_set();
		ValueWalk	walk = {&set, TextDatumGetCString(name)};

		for_each_value(series_sql(matches, PG_GETARG_INT64(2), PG_GETARG_INT64(3), false), 0, NULL, NULL, add_value, &walk);
		print_set(&f, &set);
	}
	appendStringInfoChar(&f.buf, ']');
	prom_fragments_end(&f);
	return (Datum) 0;
}

Datum
prom_api_series(PG_FUNCTION_ARGS)
{
	PromFragments f;

	prom_fragments_begin(&f, fcinfo, PG_GETARG_INT32(3));
	appendStringInfoChar(&f.buf, '[');
	for_each_value(series_sql(PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_INT64(1), PG_GETARG_INT64(2), true), 0, NULL, NULL,
				   print_labels, &f);
	appendStringInfoChar(&f.buf, ']');
	prom_fragments_end(&f);
	return (Datum) 0;
}
