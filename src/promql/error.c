/*
 * error.c
 *	  Errors that name their place in the expression, in Prometheus' form.
 *
 * "line:col: parse error: ..." with both counted from 1, columns in bytes.  Clients of the HTTP API
 * parse this text, so nothing is put before it.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "promql/ast.h"

static void report(const char *query, int at, int code, const char *kind, const char *hint, const char *fmt,
				   va_list args) pg_attribute_printf(6, 0) pg_attribute_noreturn();

void
promql_error(const char *query, int at, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	report(query, at, ERRCODE_SYNTAX_ERROR, "parse error", NULL, fmt, args);
}

void
promql_error_code(const char *query, int at, int code, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	report(query, at, code, "parse error", NULL, fmt, args);
}

void
promql_experimental_error(const char *query, int at, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	report(query, at, ERRCODE_SYNTAX_ERROR, "parse error", "Turn on \"promgres.promql_experimental\".", fmt, args);
}

void
promql_unsupported(const char *query, int at, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	report(query, at, ERRCODE_FEATURE_NOT_SUPPORTED, "not supported yet", NULL, fmt, args);
}

void
promql_place(const char *query, int at, int *line, int *column)
{
	*line = *column = 1;
	for (int i = 0; i < at; i++)
	{
		(*column)++;
		if (query[i] == '\n')
		{
			(*line)++;
			*column = 1;
		}
	}
}

static void
report(const char *query, int at, int code, const char *kind, const char *hint, const char *fmt, va_list args)
{
	char		message[8192];
	int			line;
	int			column;

	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	message[pg_encoding_mbcliplen(PG_UTF8, message, strlen(message), sizeof(message) - 1)] = '\0';

	if (at < 0)
		ereport(ERROR, (errcode(code), errmsg("unknown position: %s: %s", kind, message),
						hint ? errhint("%s", hint) : 0));
	promql_place(query, at, &line, &column);
	ereport(ERROR, (errcode(code), errmsg("%d:%d: %s: %s", line, column, kind, message),
					hint ? errhint("%s", hint) : 0));
}
