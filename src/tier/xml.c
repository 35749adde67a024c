/*
 * xml.c
 *	  Reads the XML that a bucket answers with.
 *
 * Expat does the work: it is a small and old library, without state outside its parser (libxml2's error
 * handlers are PostgreSQL's own), and reads namespaces, entities and encodings, which a parser of our own
 * for "a few elements" would get wrong.  Here are the bounds: depth, lengths, and no DOCTYPE, hence no
 * entities but the five of XML.
 */
#include "c.h"

#include <expat.h>
#include <limits.h>

#include "tier/xml.h"

typedef struct Reader
{
	XML_Parser	parser;
	PromXmlElement element;
	void	   *arg;
	const char *reason;			/* set: we have stopped */
	int			depth;
	char		names[PROM_XML_MAX_DEPTH + 1][PROM_XML_MAX_NAME + 1];	/* names[0] is "" */
	size_t		text_len;
	char		text[PROM_XML_MAX_TEXT + 1];
} Reader;

static void begin_element(void *arg, const XML_Char *name, const XML_Char **attributes);
static void end_element(void *arg, const XML_Char *name);
static void take_text(void *arg, const XML_Char *text, int len);
static void refuse_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal);
static void give_up(Reader *r, const char *reason);

bool
prom_xml_read(const char *data, size_t size, PromXmlElement element, void *arg, const char **reason)
{
	Reader		r;
	bool		ok;

	if (size > INT_MAX)
	{
		*reason = "too long";
		return false;
	}
	r.parser = XML_ParserCreate(NULL);
	if (r.parser == NULL)
	{
		*reason = "out of memory";
		return false;
	}
	r.element = element;
	r.arg = arg;
	r.reason = NULL;
	r.depth = 0;
	r.names[0][0] = '\0';
	r.text_len = 0;
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, begin_element, end_element);
	XML_SetCharacterDataHandler(r.parser, take_text);
	XML_SetStartDoctypeDeclHandler(r.parser, refuse_doctype);

	ok = XML_Parse(r.parser, data, (int) size, XML_TRUE) == XML_STATUS_OK && r.reason == NULL;
	if (!ok)
		*reason = r.reason != NULL ? r.reason : XML_ErrorString(XML_GetErrorCode(r.parser));
	XML_ParserFree(r.parser);
	return ok;
}

static void
begin_element(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	Reader	   *r = arg;
	const char *colon = strchr(name, ':');

	if (r->reason != NULL)
		return;
	if (colon != NULL)
		name = colon + 1;
	if (r->depth == PROM_XML_MAX_DEPTH)
		give_up(r, "elements too deep");
	else if (strlen(name) > PROM_XML_MAX_NAME)
		give_up(r, "name of an element too long");
	else
	{
		r->depth++;
		strcpy(r->names[r->depth], name);
		r->text_len = 0;
		if (!r->element(r->names[r->depth - 1], name, NULL, r->arg))
			give_up(r, "unexpected element");
	}
}

/* After a child, what is left of its parent's text is what follows the child: only leaves have text here. */
static void
end_element(void *arg, const XML_Char *name)
{
	Reader	   *r = arg;

	if (r->reason != NULL)
		return;
	r->text[r->text_len] = '\0';
	if (!r->element(r->names[r->depth - 1], r->names[r->depth], r->text, r->arg))
		give_up(r, "unexpected value");
	r->depth--;
	r->text_len = 0;
}

static void
take_text(void *arg, const XML_Char *text, int len)
{
	Reader	   *r = arg;

	if (r->reason != NULL)
		return;
	if (len > PROM_XML_MAX_TEXT - r->text_len)
	{
		give_up(r, "text too long");
		return;
	}
	memcpy(r->text + r->text_len, text, len);
	r->text_len += len;
}

static void
refuse_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
	give_up(arg, "DOCTYPE");
}

static void
give_up(Reader *r, const char *reason)
{
	r->reason = reason;
	XML_StopParser(r->parser, XML_FALSE);
}
