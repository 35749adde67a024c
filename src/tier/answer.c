/*
 * answer.c
 *	  What the readers and writers of a bucket's XML share.
 *
 * Callbacks of the XML reader may not raise, so what they collect grows by allocations that say NULL.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/datetime.h"
#include "utils/memutils.h"

#include "tier/request.h"

void *
prom_growing_add(PromGrowing *list)
{
	if (list->n == list->space)
	{
		int			space = list->space > 0 ? 2 * list->space : 64;
		char	   *items = MemoryContextAllocExtended(list->context, space * list->item_size,
													   MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

		if (items == NULL)
			return NULL;
		if (list->items != NULL)
		{
			memcpy(items, list->items, list->n * list->item_size);
			pfree(list->items);
		}
		list->items = items;
		list->space = space;
	}
	return (char *) list->items + list->item_size * list->n++;
}

char *
prom_growing_text(PromGrowing *list, const char *text)
{
	size_t		size = strlen(text) + 1;
	char	   *copy = MemoryContextAllocExtended(list->context, size, MCXT_ALLOC_NO_OOM);

	return copy != NULL ? memcpy(copy, text, size) : NULL;
}

char *
prom_growing_etag(PromGrowing *list, const char *text)
{
	char		quoted[256];

	if (text[0] == '\0' || text[0] == '"' || strncmp(text, "W/", 2) == 0 || strlen(text) > sizeof(quoted) - 3)
		return prom_growing_text(list, text);
	snprintf(quoted, sizeof(quoted), "\"%s\"", text);
	return prom_growing_text(list, quoted);
}

void
prom_xml_escape(StringInfo out, const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		switch (*p)
		{
			case '&':
				appendStringInfoString(out, "&amp;");
				break;
			case '<':
				appendStringInfoString(out, "&lt;");
				break;
			case '>':
				appendStringInfoString(out, "&gt;");
				break;
			case '"':
				appendStringInfoString(out, "&quot;");
				break;
			default:
				appendStringInfoChar(out, *p);
		}
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void
prom_xml_unquote(char *text)
{
	char	   *out = text;

	for (const char *p = text; *p != '\0'; p++)
	{
		if (*p == '%' && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0 && (p[1] != '0' || p[2] != '0'))
		{
			*out++ = (char) (hex_digit(p[1]) << 4 | hex_digit(p[2]));
			p += 2;
		}
		else
			*out++ = *p == '+' ? ' ' : *p;
	}
	*out = '\0';
}

TimestampTz
prom_xml_time(const char *text)
{
	int			y,
				m,
				d,
				hour,
				minute;
	double		second;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%lf", &y, &m, &d, &hour, &minute, &second) != 6 ||
		y < 1970 || y > 9999 || m < 1 || m > 12 || d < 1 || d > 31 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
		!(second >= 0 && second < 61))
		return 0;
	return (int64) (date2j(y, m, d) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
		(hour * (int64) 3600 + minute * 60) * USECS_PER_SEC + (int64) (second * USECS_PER_SEC);
}

void
prom_answer_malformed(const PromBucket *bucket, const char *doing, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_IO_ERROR),
			 errmsg("could not %s %s", doing, bucket->description),
			 errdetail("Its answer is not what it should be: %s.", reason),
			 errhint("Is the endpoint that of an S3?")));
}
