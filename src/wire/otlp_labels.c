/*
 * otlp_labels.c
 *	  Attributes of resources, scopes and data points as labels.
 *
 * Names are made of letters, digits and single underscores unless names go as they are; names that
 * begin and end with two underscores are kept.  Attributes whose names become the same make one label
 * of all their values, in the order of the names they had.  An attribute without a name is none.
 */
#include "c.h"

#include "wire/otlp.h"

/* KeyValue */
#define FIELD_KEY		1
#define FIELD_VALUE		2

/* Resource */
#define FIELD_ATTRIBUTES 1

static bool take_attribute(Otlp *o, const Field *message, const char *prefix, OtlpFilter filter, OtlpLevel *level);
static bool is_wanted(const Otlp *o, const char *key, size_t len, OtlpFilter filter);
static void put_name(Otlp *o, PromWireBuffer *text, const char *prefix, const char *key, size_t len);
static bool same(const char *text, size_t len, const char *other);

void
prom_otlp_level_reset(OtlpLevel *level)
{
	level->n = 0;
	level->too_many = false;
	level->text->len = 0;
}

bool
prom_otlp_attributes(Otlp *o, PromBytes b, uint32 number, const char *prefix, OtlpFilter filter, OtlpLevel *level)
{
	Field		f;

	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != number)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES))
			return false;
		if (!take_attribute(o, &f, prefix, filter, level))
			return false;
	}
	return true;
}

static bool
take_attribute(Otlp *o, const Field *message, const char *prefix, OtlpFilter filter, OtlpLevel *level)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);
	Field		key = {.number = 0};
	Field		value = {.number = 0};
	OtlpValue	v = {.is_text = true, .text = ""};
	OtlpLabel  *l;
	Field		f;

	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != FIELD_KEY && f.number != FIELD_VALUE)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES))
			return false;
		*(f.number == FIELD_KEY ? &key : &value) = f;
	}
	if (key.len == 0 || !is_wanted(o, (const char *) key.bytes, key.len, filter))
		return true;
	if (level->n == OTLP_MAX_LABELS)
	{
		level->too_many = true;
		return true;
	}
	l = &level->labels[level->n];
	l->order = level->n++;
	l->value_at = level->text->len;
	if (value.number != 0 && !prom_otlp_value(o, &value, level->text, &v))
		return false;
	l->value = v.is_text ? v.text : NULL;
	l->value_len = v.is_text ? v.len : level->text->len - l->value_at;

	/* sorted by this first */
	l->name = (const char *) key.bytes;
	l->name_len = key.len;
	l->name_at = level->text->len;
	put_name(o, level->text, prefix, l->name, l->name_len);
	l->name_text_len = level->text->len - l->name_at;
	return true;
}

static bool
is_wanted(const Otlp *o, const char *key, size_t len, OtlpFilter filter)
{
	bool		identifying = same(key, len, "service.name") || same(key, len, "service.namespace") ||
		same(key, len, "service.instance.id");
	const char *p = o->options->promote;

	if (filter == OTLP_ALL)
		return true;
	if (filter == OTLP_INFO)
		return !identifying || o->options->keep_identifying;
	while (*p != '\0')
	{
		size_t		n;

		p += strspn(p, ", \t\n");
		n = strcspn(p, ", \t\n");
		if ((n == 1 && *p == '*' && !identifying) || (n == len && memcmp(p, key, n) == 0))
			return true;
		p += n;
	}
	return false;
}

static bool
is_label_char(uint8 c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static void
put_name(Otlp *o, PromWireBuffer *text, const char *prefix, const char *key, size_t len)
{
	bool		reserved = len > 4 && memcmp(key, "__", 2) == 0 && memcmp(key + len - 2, "__", 2) == 0;
	uint8		last = '\0';

	put_bytes(text, prefix, strlen(prefix));
	if (o->options->strategy >= PROM_OTLP_UTF8_WITH_SUFFIXES)
	{
		put_bytes(text, key, len);
		return;
	}
	if (*prefix == '\0' && key[0] >= '0' && key[0] <= '9')
		put_bytes(text, "key_", 4);
	for (size_t i = 0; i < len; i++)
	{
		uint8		c = is_label_char((uint8) key[i]) ? (uint8) key[i] : '_';

		/* a character of several bytes is one */
		if (c == '_' && ((last == '_' && !reserved) || ((uint8) key[i] & 0xC0) == 0x80))
			continue;
		put_byte(text, c);
		last = c;
	}
}

static int
compare_labels(const void *a, const void *b)
{
	const OtlpLabel *x = a;
	const OtlpLabel *y = b;
	int			c = memcmp(x->name, y->name, Min(x->name_len, y->name_len));

	if (c != 0)
		return c;
	if (x->name_len != y->name_len)
		return x->name_len < y->name_len ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* Values that were written stand where they stay. */
static void
settle(OtlpLevel *level)
{
	for (int i = 0; i < level->n; i++)
	{
		OtlpLabel  *l = &level->labels[i];

		if (l->value == NULL)
			l->value = (const char *) level->text->data + l->value_at;
	}
}

/* Values of the labels from i on that have one name, with ";" between. */
static int
join(OtlpLevel *level, int i, OtlpLabel *joined)
{
	PromWireBuffer *text = level->text;
	size_t		at = text->len;
	int			k = i;

	for (; k < level->n && level->labels[k].name_len == level->labels[i].name_len &&
		 memcmp(level->labels[k].name, level->labels[i].name, level->labels[i].name_len) == 0; k++)
	{
		if (k > i)
			put_byte(text, ';');
		put_bytes(text, level->labels[k].value, level->labels[k].value_len);
	}
	*joined = level->labels[i];
	joined->value = NULL;
	joined->value_at = at;
	joined->value_len = text->len - at;
	return k;
}

void
prom_otlp_level_finish(OtlpLevel *level)
{
	size_t		size = 0;
	int			kept = 0;
	int			k;

	/* what join() may write; from here on no text moves */
	for (int i = 0; i < level->n; i++)
		size += level->labels[i].value_len + 1;
	if (!put_room(level->text, size + 1))
	{
		level->n = 0;
		return;
	}
	qsort(level->labels, level->n, sizeof(OtlpLabel), compare_labels);
	for (int i = 0; i < level->n; i++)
	{
		level->labels[i].order = i;
		level->labels[i].name = (const char *) level->text->data + level->labels[i].name_at;
		level->labels[i].name_len = level->labels[i].name_text_len;
	}
	settle(level);
	qsort(level->labels, level->n, sizeof(OtlpLabel), compare_labels);
	for (int i = 0; i < level->n; i = k)
	{
		OtlpLabel	one = level->labels[i];

		k = i + 1;
		if (k < level->n && level->labels[k].name_len == one.name_len &&
			memcmp(level->labels[k].name, one.name, one.name_len) == 0)
			k = join(level, i, &one);
		level->labels[kept++] = one;
	}
	level->n = kept;
	settle(level);
}

void
prom_otlp_add(OtlpLevel *level, const char *name, size_t name_len, const char *value, size_t value_len, bool replace)
{
	OtlpLabel	l = {.name = name, .name_len = name_len, .value = value, .value_len = value_len};
	int			i = level->n;

	while (i > 0 && compare_labels(&level->labels[i - 1], &l) > 0)
		i--;
	if (i > 0 && level->labels[i - 1].name_len == l.name_len && memcmp(level->labels[i - 1].name, name, l.name_len) == 0)
	{
		if (replace)
			level->labels[i - 1] = l;
		return;
	}
	if (level->n == OTLP_MAX_LABELS)
	{
		level->too_many = true;
		return;
	}
	memmove(&level->labels[i + 1], &level->labels[i], sizeof(OtlpLabel) * (level->n - i));
	level->labels[i] = l;
	level->n++;
}

void
prom_otlp_add_level(OtlpLevel *level, const OtlpLevel *more)
{
	level->too_many |= more->too_many;
	for (int i = 0; i < more->n; i++)
	{
		const OtlpLabel *l = &more->labels[i];

		prom_otlp_add(level, l->name, l->name_len, l->value, l->value_len, false);
	}
}

/* An empty value is an absent label. */
void
prom_otlp_put_labels(PromWireBuffer *out, const OtlpLevel *level)
{
	for (int i = 0; i < level->n; i++)
	{
		const OtlpLabel *l = &level->labels[i];

		if (l->value_len > 0)
			put_label(out, V1_LABEL, l->name, l->name_len, l->value, l->value_len);
	}
}

/* job and instance, as text in o->identity. */
bool
prom_otlp_identity(Otlp *o, PromBytes b)
{
	OtlpLevel  *level = &o->info;	/* for now */
	const OtlpLabel *space = NULL;
	const OtlpLabel *name = NULL;
	const OtlpLabel *instance = NULL;
	PromWireBuffer *text = o->identity;
	size_t		size = 1;

	prom_otlp_level_reset(level);
	o->job = o->instance = NULL;
	text->len = 0;
	if (!prom_otlp_attributes(o, b, FIELD_ATTRIBUTES, "", OTLP_ALL, level))
		return false;
	if (level->text->full)
		return true;
	for (int i = 0; i < level->n; i++)
	{
		OtlpLabel  *l = &level->labels[i];

		if (l->value == NULL)
			l->value = (const char *) level->text->data + l->value_at;
		if (same(l->name, l->name_len, "service.namespace"))
			space = l;
		else if (same(l->name, l->name_len, "service.name"))
			name = l;
		else if (same(l->name, l->name_len, "service.instance.id"))
			instance = l;
		else
			continue;
		size += l->value_len + 1;
	}
	if (!put_room(text, size))
		return true;
	if (name && name->value_len > 0)
	{
		o->job = (const char *) text->data;
		if (space && space->value_len > 0)
		{
			put_bytes(text, space->value, space->value_len);
			put_byte(text, '/');
		}
		put_bytes(text, name->value, name->value_len);
		o->job_len = text->len;
	}
	if (instance && instance->value_len > 0)
	{
		o->instance = (const char *) text->data + text->len;
		o->instance_len = instance->value_len;
		put_bytes(text, instance->value, instance->value_len);
	}
	return true;
}

static bool
same(const char *text, size_t len, const char *other)
{
	return len == strlen(other) && memcmp(text, other, len) == 0;
}
