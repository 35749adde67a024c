/*
 * series.h
 *	  Who a series is: label sets, matchers, and the table that gives each label set its id.
 *
 * A label set (SQL type prom.labels) is sorted by name, names are unique, neither names nor values
 * are empty, all is UTF-8; the metric name is the label __name__.  An absent label and an empty
 * value are the same thing.
 */
#ifndef PROM_SERIES_H
#define PROM_SERIES_H

#include "postgres.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/array.h"

/* ---- labels.c, labels_sql.c ---- */

typedef struct varlena PromLabels;

#define DatumGetPromLabelsP(d)	((PromLabels *) PG_DETOAST_DATUM_PACKED(d))
#define PG_GETARG_PROM_LABELS_P(n) DatumGetPromLabelsP(PG_GETARG_DATUM(n))

typedef struct PromLabel
{
	const char *name;			/* not zero-terminated */
	const char *value;
	int			name_len;
	int			value_len;
} PromLabel;

#define PROM_LABELS_MAX			1024	/* pairs of one set; more is an error, never a cut */
#define PROM_LABEL_NAME_MAX		1024	/* bytes */
#define PROM_LABEL_VALUE_MAX	65535	/* bytes */

/*
 * Canonical set of the given pairs: sorts them, drops empty values.  On a bad set returns NULL and
 * a palloc'd reason that names the label ("duplicate label name \"x\"", "label name is not valid UTF-8").
 */
extern PromLabels *prom_labels_build(const PromLabel *pairs, int n, char **reason);

/* {__name__="up", job="x"} and what else selects one series in PromQL; raises. */
extern PromLabels *prom_labels_from_text(const char *text);

/* A name from a stranger, for a message: valid UTF-8, and short; palloc'd. */
extern char *prom_label_shown(const char *name, int len);

/* The pairs, pointing into the set; returned array is palloc'd. */
extern PromLabel *prom_labels_unpack(const PromLabels *l, int *n);

/* Value of a name, or false. */
extern bool prom_labels_get(const PromLabels *l, const char *name, int name_len,
							const char **value, int *value_len);
extern int	prom_labels_cmp(const PromLabels *a, const PromLabels *b);	/* name, value, name, ... bytewise */
extern uint64 prom_labels_hash(const PromLabels *l);

/* {__name__="up", job="x"}: names that need it are quoted, values have Go's escapes. */
extern void prom_labels_print(StringInfo out, const PromLabels *l);
extern void prom_label_quote(StringInfo out, const char *s, int len);	/* with Go's escapes */

/* The same with the metric's name ahead of the braces, and without them if nothing else is there. */
extern void prom_labels_print_legend(StringInfo out, const PromLabels *l);

/* Hash of one (name, value), one of what prom._label_pairs() gives. */
extern int32 prom_pair_hash(const char *name, int name_len, const char *value, int value_len);

/* ---- labels_set.c ---- */

/* The set with that pair in place of one of its name, or without one if the value is empty; raises. */
extern PromLabels *prom_labels_with(const PromLabels *labels, PromLabel pair);

/* ---- labels_fn.c ---- */

/* The arguments of label_replace and label_join; sources: char *.  They raise. */
extern void prom_check_label_replace(const char *dst, const char *pattern);
extern void prom_check_label_join(const char *dst, List *sources);

/* ---- matcher.c ---- */

typedef enum PromMatchType
{
	PROM_MATCH_EQ,				/* =  */
	PROM_MATCH_NE,				/* != */
	PROM_MATCH_RE,				/* =~ */
	PROM_MATCH_NRE				/* !~ */
} PromMatchType;

typedef struct PromMatcher
{
	PromMatchType type;
	char	   *name;			/* zero-terminated UTF-8 */
	char	   *value;
} PromMatcher;

/* Does it accept the empty string, i.e. an absent label?  Raises on a bad regex. */
extern bool prom_matcher_accepts_empty(const PromMatcher *m);
extern bool prom_matcher_test(const PromMatcher *m, const char *value, int value_len);

/* Matchers given as text[]: their types ("=~"), names and values. */
extern PromMatcher *prom_matchers_from_arrays(ArrayType *ops, ArrayType *names, ArrayType *values, int *n);

/*
 * Append an SQL condition on the row "alias" of prom.series that is true for the series which
 * satisfy all n matchers: constants for the GIN index on prom._label_pairs(labels) (regex and the like
 * are resolved over prom.label_value, by SPI, now) and a recheck on labels.  All names are
 * schema-qualified.
 */
extern void prom_matchers_sql(StringInfo out, const char *alias, const PromMatcher *m, int n);

/* ---- regex.cc: RE2, anchored, dot matches newline ---- */

typedef struct PromRegex PromRegex;

/* Compiled pattern from a bounded cache; NULL and a palloc'd reason if it does not compile.
 * Valid until the next call of prom_regex_get in this backend. */
extern PromRegex *prom_regex_get(const char *pattern, int len, char **reason);
extern bool prom_regex_match(PromRegex *re, const char *text, int len);

/*
 * If it matches: the template with $1, ${1}, $name and ${name} replaced by what the groups matched,
 * $$ by $, and any other $ left alone, as Go's Regexp.Expand does it.  A result longer than "size" is
 * cut, *out_len says size + 1 then.
 */
extern bool prom_regex_expand(PromRegex *re, const char *text, int len, const char *template_text,
							  int template_len, char *out, int size, int *out_len);

/* ---- series.c ---- */

typedef struct PromSeriesHash
{
	uint64		low;
	uint64		high;
} PromSeriesHash;

typedef struct PromSeriesId
{
	int16		shard;
	int32		sid;
} PromSeriesId;

/* One wanted series: in "labels", out "id" or the reason why it was not made. */
typedef struct PromSeriesWant
{
	PromSeriesHash raw;			/* hash of the label bytes as the sender wrote them */
	PromLabels *labels;
	PromSeriesId id;
	char	   *refused;		/* palloc'd, names metric and setting; NULL: "id" is valid */
} PromSeriesWant;

/*
 * Lock prom.series against removal of series until the end of the transaction, and take notice of
 * removals by others (the cache is emptied if there were any).  Call before prom_series_cached.
 */
extern void prom_series_begin(void);

/* The id of a label set seen before by this backend, by the hash of its raw bytes. */
extern bool prom_series_cached(PromSeriesHash raw, PromSeriesId *id);

/* It will be asked for soon: with many series each look is a miss of the processor's cache. */
extern void prom_series_expect(PromSeriesHash raw);
extern PromSeriesHash prom_series_raw_hash(const void *bytes, size_t len);

/*
 * Find or create all n (SPI must not be connected).  New series are made under the shard's lock, in
 * one step, so that senders of the same new series neither deadlock nor lose ids.  What is learnt
 * enters the cache when the transaction commits.  New series above a limit are refused one by one.  Returns
 * how many were made.
 */
extern int	prom_series_resolve(PromSeriesWant *want, int n);

/* ---- sight.c ---- */

/* Does row security on prom.series show the current user only some of them? */
extern bool prom_series_restricted(void);

/*
 * Raises if the current user may read nothing of prom.series, and says what to do: the executor would name the first of
 * our views that it comes upon, with the whole of a translated query as the context.
 */
extern void prom_series_check_reads(void);

extern void prom_series_init(void);

#endif							/* PROM_SERIES_H */
