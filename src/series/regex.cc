/*
 * regex.cc
 *	  RE2 behind two C functions; the only C++ file.
 *
 * PromQL's regexes are RE2's, matched against the whole text, and the dot matches a newline as well.
 * RE2 allocates with new: compiled patterns live in a cache of the last PROM_REGEX_CACHED used ones,
 * each under RE2's own memory limit.  No exception leaves a function here, and no PostgreSQL error may
 * be raised while a C++ object is on the stack: the reason of a failure waits in a plain buffer.
 */
extern "C"
{
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "series/series.h"
}

/* PostgreSQL's macros of these names would end up in C++ headers. */
#undef printf
#undef fprintf
#undef snprintf
#undef vsnprintf
#undef sprintf
#undef vsprintf
#undef strerror
#undef strerror_r
#undef gettext
#undef dgettext
#undef ngettext
#undef dngettext

#include <exception>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include <re2/re2.h>

#define PROM_REGEX_CACHED 64

struct PromRegex
{
	std::string pattern;
	std::unique_ptr<RE2> compiled;
};

typedef std::list<PromRegex> RegexList;

/* Most recently used first. */
static RegexList *recent;
static std::unordered_map<std::string, RegexList::iterator> *by_pattern;

/* RE2 takes \C, one byte, which Go's and so PromQL's dialect refuses. */
static bool
has_byte_escape(const char *p, int len)
{
	bool		quoted = false;

	for (int i = 0; i + 1 < len; i++)
	{
		if (p[i] != '\\')
			continue;
		i++;
		if (p[i] == 'E')
			quoted = false;
		else if (quoted)
			i--;
		else if (p[i] == 'Q')
			quoted = true;
		else if (p[i] == 'C')
			return true;
	}
	return false;
}

static PromRegex *
find_or_compile(const char *pattern, int len, char *fault, size_t fault_size) noexcept
{
	try
	{
		std::string key(pattern, len);
		RE2::Options options;
		PromRegex	fresh;

		if (by_pattern == nullptr)
		{
			std::unique_ptr<RegexList> list(new RegexList);

			by_pattern = new std::unordered_map<std::string, RegexList::iterator>;
			recent = list.release();
		}

		auto found = by_pattern->find(key);

		if (found != by_pattern->end())
		{
			recent->splice(recent->begin(), *recent, found->second);
			return &recent->front();
		}

		options.set_log_errors(false);
		options.set_dot_nl(true);
		fresh.compiled.reset(new RE2(key, options));
		if (!fresh.compiled->ok())
		{
			strlcpy(fault, fresh.compiled->error().c_str(), fault_size);
			return nullptr;
		}
		if (recent->size() >= PROM_REGEX_CACHED)
		{
			by_pattern->erase(recent->back().pattern);
			recent->pop_back();
		}
		fresh.pattern = key;
		recent->push_front(std::move(fresh));
		try
		{
			by_pattern->emplace(key, recent->begin());
		}
		catch (...)
		{
			recent->pop_front();
			throw;
		}
		return &recent->front();
	}
	catch (const std::exception &e)
	{
		strlcpy(fault, e.what(), fault_size);
	}
	catch (...)
	{
		strlcpy(fault, "unknown failure", fault_size);
	}
	return nullptr;
}

extern "C" PromRegex *
prom_regex_get(const char *pattern, int len, char **reason)
{
	char		fault[256];
	PromRegex  *re;

	*reason = NULL;
	if (has_byte_escape(pattern, len))
	{
		*reason = pstrdup("invalid escape sequence: \\C");
		return NULL;
	}
	re = find_or_compile(pattern, len, fault, sizeof(fault));
	if (re == NULL)
		*reason = pnstrdup(fault, pg_encoding_verifymbstr(PG_UTF8, fault, strlen(fault)));
	return re;
}

/* 1: it matches, 0: it does not, -1: memory ran out. */
static int
match(PromRegex *re, const char *text, int len) noexcept
{
	try
	{
		re2::StringPiece subject(text, len);

		return re->compiled->Match(subject, 0, len, RE2::ANCHOR_BOTH, nullptr, 0);
	}
	catch (...)
	{
		return -1;
	}
}

extern "C" bool
prom_regex_match(PromRegex *re, const char *text, int len)
{
	int			found = match(re, text, len);

	if (found < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory while matching a regular expression")));
	return found != 0;
}
