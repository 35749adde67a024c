/*
 * layout.c
 *	  Indents translated SQL for people: one tab per open parenthesis.
 *
 * The translation breaks lines and does not count tabs; quoted text is left as it is.
 */
#include "postgres.h"

#include "promql/sqlgen.h"

#define MAX_TABS 60				/* deeper nesting is no longer for people */

char *
promql_layout(const char *sql)
{
	StringInfoData out;
	int			depth = 0;
	bool		quoted = false;

	initStringInfo(&out);
	for (const char *c = sql; *c; c++)
	{
		if (*c == '\'')
			quoted = !quoted;
		else if (!quoted && *c == '(')
			depth++;
		else if (!quoted && *c == ')')
			depth--;
		appendStringInfoChar(&out, *c);
		for (int i = 0; *c == '\n' && !quoted && i < Min(depth, MAX_TABS); i++)
			appendStringInfoChar(&out, '\t');
	}
	return out.data;
}
