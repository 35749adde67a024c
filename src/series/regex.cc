/*
 * regex.cc
 *	  RE2 behind three C functions; the only C++ file.
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

#include <algorithm>
#include <exception>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <re2/re2.h>

#define PROM_REGEX_CACHED 64

struct PromRegex
{
	std::string pattern;
	std::unique_ptr<RE2> compiled;
	/* What every text that matches lies between, and ends with: told apart without RE2 */
	bool		bounded = false;
	std::string least;
	std::string greatest;
	std::string ending;
};

/* Bytes of a bound: more would tell few more texts apart. */
#define PROM_REGEX_BOUND 16

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

/*
 * The letters and digits after the last sign of a pattern, which texts that match end with; none if there is an alternative
 * or a flag somewhere, or an escape in front of them, for then they may mean something else.
 */
static std::string
find_ending(const std::string &pattern)
{
	size_t		sign = pattern.find_last_of("\\.+*?()[]{}^$|");

	if (sign == std::string::npos || pattern[sign] == '\\' || pattern.find('|') != std::string::npos ||
		pattern.find("(?") != std::string::npos || pattern.find("\\Q") != std::string::npos)
		return std::string();
	/* .*\.com: an escaped sign would be part of it, but what is behind is enough; \x41, \pL and \1 have none behind */
	return pattern.substr(sign + 1);
}

static void
find_bounds(PromRegex *re)
{
	RE2::Options options;
	std::string anchored = "^(?:" + re->pattern + ")$";

	options.set_log_errors(false);
	options.set_dot_nl(true);

	RE2			whole(anchored, options);

	re->bounded = whole.ok() && whole.PossibleMatchRange(&re->least, &re->greatest, PROM_REGEX_BOUND);
	re->ending = find_ending(re->pattern);
}

static PromRegex *
find_or_compile(const char *pattern, int len, char *fault, size_t fault_size) noexcept
{
	try
	{
		if (recent != nullptr && !recent->empty() && (int) recent->front().pattern.size() == len &&
			memcmp(recent->front().pattern.data(), pattern, len) == 0)
			return &recent->front();

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

		if (has_byte_escape(pattern, len))
		{
			strlcpy(fault, "invalid escape sequence: \\C", fault_size);
			return nullptr;
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
		find_bounds(&fresh);
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
	re = find_or_compile(pattern, len, fault, sizeof(fault));
	if (re == NULL)
		*reason = pnstrdup(fault, pg_encoding_verifymbstr(PG_UTF8, fault, strlen(fault)));
	return re;
}

/* Is text before (-1), behind (1) or at the prefix of a bound? */
static int
compare(const char *text, int len, const std::string &bound)
{
	int			c = memcmp(text, bound.data(), std::min((size_t) len, bound.size()));

	return c != 0 ? c : (size_t) len < bound.size() ? -1 : (size_t) len > bound.size();
}

static bool
may_match(const PromRegex *re, const char *text, int len)
{
	size_t		ending = re->ending.size();

	if ((size_t) len < ending || memcmp(text + len - ending, re->ending.data(), ending) != 0)
		return false;
	return !re->bounded || (compare(text, len, re->least) >= 0 && compare(text, len, re->greatest) <= 0);
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

static bool
was_found(int found)
{
	if (found < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory while matching a regular expression")));
	return found != 0;
}

extern "C" bool
prom_regex_match(PromRegex *re, const char *text, int len)
{
	return may_match(re, text, len) && was_found(match(re, text, len));
}

/* The group that a name in a template stands for: a number without leading zeros, or a name; -1: none. */
static int
find_group(const RE2 &compiled, const re2::StringPiece &name)
{
	int			number = 0;

	for (size_t i = 0; i < name.size(); i++)
	{
		if (name[i] < '0' || name[i] > '9' || number >= 100000000 || (name[0] == '0' && i > 0))
		{
			auto		found = compiled.NamedCapturingGroups().find(std::string(name));

			return found == compiled.NamedCapturingGroups().end() ? -1 : found->second;
		}
		number = number * 10 + (name[i] - '0');
	}
	return number <= compiled.NumberOfCapturingGroups() ? number : -1;
}

/* Appends to a buffer of "size" bytes as much as fits; *len tells if something did not. */
static void
append(char *out, int size, int *len, const char *at, size_t n)
{
	size_t		fits = std::min(n, (size_t) (size - std::min(*len, size)));

	if (fits > 0)
		memcpy(out + *len, at, fits);
	*len = n > fits ? size + 1 : *len + (int) fits;
}

/* 1: it matches, 0: it does not, -1: memory ran out. */
static int
expand(PromRegex *re, const re2::StringPiece &subject, const re2::StringPiece &form, char *out,
	   int size, int *out_len) noexcept
{
	try
	{
		static const RE2 reference("\\$(?:\\$|([\\pL\\p{Nd}_]+)|\\{([\\pL\\p{Nd}_]+)\\})");
		std::vector<re2::StringPiece> groups(re->compiled->NumberOfCapturingGroups() + 1);
		re2::StringPiece part[3];
		size_t		at = 0;

		if (!reference.ok())
			return -1;
		if (!re->compiled->Match(subject, 0, subject.size(), RE2::ANCHOR_BOTH, groups.data(), groups.size()))
			return 0;
		*out_len = 0;
		while (reference.Match(form, at, form.size(), RE2::UNANCHORED, part, 3))
		{
			append(out, size, out_len, form.data() + at, part[0].data() - (form.data() + at));
			at = part[0].data() + part[0].size() - form.data();
			if (part[1].empty() && part[2].empty())
				append(out, size, out_len, "$", 1);
			else
			{
				int			group = find_group(*re->compiled, part[1].empty() ? part[2] : part[1]);

				if (group >= 0)
					append(out, size, out_len, groups[group].data(), groups[group].size());
			}
		}
		append(out, size, out_len, form.data() + at, form.size() - at);
		return 1;
	}
	catch (...)
	{
		return -1;
	}
}

extern "C" bool
prom_regex_expand(PromRegex *re, const char *text, int len, const char *template_text,
				  int template_len, char *out, int size, int *out_len)
{
	return was_found(expand(re, re2::StringPiece(text, len), re2::StringPiece(template_text, template_len),
							out, size, out_len));
}
