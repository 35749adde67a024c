/*
 * parse.c
 *	  From a text to its analysed tree, and what is said of a token that does not fit.
 *
 * The text is checked for size and encoding first; scanner and grammar then rely on both.  The number
 * of tokens is limited, for memory, and the depth twice: by bison's stack while reading, by
 * PROMQL_MAX_DEPTH in the finished tree, so that whoever walks the tree afterwards may recurse.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "common/compat.h"
#include "promql/gram.h"
#include "promql/parse.h"

/* Strings and numbers in messages are cut to this many characters. */
#define SHOWN_CHARACTERS 10

extern int	promql_scan(PROMQL_YYSTYPE *value, PromqlSpan *span, void *scanner);

static PromqlNode *parse(const char *text, int first_token);
static char *token_description(PromqlParser *parser);
static char *cut(const char *kind, const char *p, int len);

PG_FUNCTION_INFO_V1(prom_format);
PG_FUNCTION_INFO_V1(prom_parse);

/* format(expr) */
Datum
prom_format(PG_FUNCTION_ARGS)
{
	char	   *expr = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(cstring_to_text(promql_pretty(promql_parse(expr))));
}

/* parse(expr) */
Datum
prom_parse(PG_FUNCTION_ARGS)
{
	char	   *expr = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(promql_json(promql_parse(expr)))));
}

PromqlNode *
promql_parse(const char *text)
{
	PromqlNode *node = parse(text, TOK_PARSE_EXPRESSION);

	promql_analyse(text, node);
	return node;
}

PromMatcher *
promql_parse_selector(const char *text, int *n)
{
	PromqlNode *node = parse(text, TOK_PARSE_SELECTOR);
	bool		selects = false;

	for (int i = 0; i < node->nmatchers && !selects; i++)
		selects = !prom_matcher_accepts_empty(&node->matchers[i]);
	if (!selects)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("match[] must contain at least one non-empty matcher")));
	promql_check_selector(text, node);

	*n = node->nmatchers;
	return node->matchers;
}

static PromqlNode *
parse(const char *text, int first_token)
{
	PromqlParser parser = {.text = text, .first_token = first_token};
	size_t		len = strlen(text);
	int			valid;
	int			failed;

	if (len > PROMQL_MAX_TEXT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("expression of %zu bytes is too long", len),
				 errdetail("An expression may have at most %d bytes.", PROMQL_MAX_TEXT)));
	valid = pg_encoding_verifymbstr(PG_UTF8, text, len);
	if (valid < len)
		promql_error(text, valid, "invalid UTF-8 rune");

	promql_scan_begin(&parser);
	failed = promql_yyparse(&parser);
	promql_scan_end(&parser);

	/* What is wrong with the text has been raised; left is a full stack. */
	if (failed)
		promql_error_code(text, parser.token_span.start, ERRCODE_STATEMENT_TOO_COMPLEX,
						  "expression is nested too deeply");
	return parser.result;
}

/* What the grammar takes its tokens from */
int
promql_yylex(PROMQL_YYSTYPE *value, PromqlSpan *span, PromqlParser *parser)
{
	CHECK_FOR_INTERRUPTS();

	if (parser->first_token)
	{
		int			token = parser->first_token;

		parser->first_token = 0;
		span->start = span->end = 0;
		return token;
	}
	parser->token = promql_scan(value, span, parser->scanner);
	parser->token_span = *span;
	if (++parser->ntokens > PROMQL_MAX_TOKENS)
		promql_error_code(parser->text, span->start, ERRCODE_STATEMENT_TOO_COMPLEX,
						  "expression has more than %d tokens", PROMQL_MAX_TOKENS);
	return parser->token;
}

/*
 * Raise that the last token was not expected.  Context says in what, expected what should have been
 * there; both may be NULL.
 */
void
promql_unexpected(PromqlParser *parser, const char *context, const char *expected)
{
	promql_error(parser->text, parser->token_span.start, "unexpected %s%s%s%s%s",
				 token_description(parser),
				 context ? " in " : "", context ? context : "",
				 expected ? ", expected " : "", expected ? expected : "");
}

static char *
token_description(PromqlParser *parser)
{
	const char *p = parser->text + parser->token_span.start;
	int			len = parser->token_span.end - parser->token_span.start;

	switch (parser->token)
	{
		case TOK_FINISH:
			return "end of input";
		case TOK_IDENTIFIER:
			return psprintf("identifier %s", promql_quote(p, len));
		case TOK_METRIC_IDENTIFIER:
			return psprintf("metric identifier %s", promql_quote(p, len));
		case TOK_STRING:
			return cut("string ", p, len);
		case TOK_NUMBER:
			return cut("number ", p, len);
		case TOK_DURATION:
			return cut("duration ", p, len);
		case TOK_AGGREGATOR:
			return psprintf("<aggr:%.*s>", len, p);
		case TOK_BY:
		case TOK_WITHOUT:
		case TOK_ON:
		case TOK_IGNORING:
		case TOK_GROUP_LEFT:
		case TOK_GROUP_RIGHT:
		case TOK_BOOL:
		case TOK_OFFSET:
		case TOK_ANCHORED:
		case TOK_SMOOTHED:
		case TOK_FILL:
		case TOK_FILL_LEFT:
		case TOK_FILL_RIGHT:
			return psprintf("<%.*s>", len, p);
		case TOK_ADD:
		case TOK_SUB:
		case TOK_MUL:
		case TOK_DIV:
		case TOK_MOD:
		case TOK_POW:
		case TOK_ATAN2:
		case TOK_EQLC:
		case TOK_NEQ:
		case TOK_LSS:
		case TOK_LTE:
		case TOK_GTR:
		case TOK_GTE:
		case TOK_TRIM_UPPER:
		case TOK_TRIM_LOWER:
		case TOK_AND:
		case TOK_OR:
		case TOK_UNLESS:
		case TOK_EQL_REGEX:
		case TOK_NEQ_REGEX:
		case TOK_AT:
			return psprintf("<op:%.*s>", len, p);
		default:
			return cut("", p, len);
	}
}

static char *
cut(const char *kind, const char *p, int len)
{
	int			shown = len;

	if (len > SHOWN_CHARACTERS)
	{
		shown = 0;
		for (int i = 0; i < SHOWN_CHARACTERS && shown < len; i++)
			shown += pg_encoding_mblen(PG_UTF8, p + shown);
	}
	return psprintf("%s%s%s", kind, promql_quote(p, shown), len > SHOWN_CHARACTERS ? "..." : "");
}
