/*
 * xml.h
 *	  The XML that a bucket answers with: listings, uploads, errors.  Plain C over expat.
 */
#ifndef PROM_TIER_XML_H
#define PROM_TIER_XML_H

#include "c.h"

/* Answers are flat: what is deeper or longer than this is not one. */
#define PROM_XML_MAX_DEPTH	8
#define PROM_XML_MAX_NAME	63
#define PROM_XML_MAX_TEXT	8191

/*
 * Called at the beginning of an element (text is NULL) and at its end, with the text directly in it,
 * zero-terminated UTF-8.  Parent is "" at the top; names are without prefixes.  False ends the reading.
 * Must not raise.
 */
typedef bool (*PromXmlElement) (const char *parent, const char *name, const char *text, void *arg);

/*
 * Read a whole document.  False: it is not well-formed, too deep, has a DOCTYPE, or the callback said false;
 * *reason (static) says which.  What was told until then may be half.
 */
extern bool prom_xml_read(const char *data, size_t size, PromXmlElement element, void *arg, const char **reason);

#endif							/* PROM_TIER_XML_H */
