/*
 * list.c
 *	  What is in a bucket: ListObjectsV2, page by page.
 *
 * Keys are asked for in percent-encoding, because XML cannot hold all of them; servers differ in whether
 * they do so and in which characters they encode, so an answer is read as its EncodingType says.  A page
 * is sorted: objects and what a delimiter has folded come apart from each other.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "tier/request.h"

/* 1000 keys of 1024 bytes, each percent-encoded, and what is around them */
#define MAX_PAGE_BYTES (8 * 1024 * 1024)

struct PromListing
{
	PromBucket *bucket;
	MemoryContext context;
	MemoryContext page;			/* what the current page has; reset with each */
	char	   *prefix;			/* with the bucket's */
	char	   *after;
	char	   *delimiter;
	int			page_size;

	char	   *token;			/* of the next page; NULL: there is none */
	bool		begun;

	PromGrowing objects;
	int			next;
	PromObject	one;			/* being read */
	bool		encoded;
	bool		truncated;
	char	   *next_token;
};

static void read_page(PromListing *listing);
static PromTransfer *request_page(PromListing *listing);
static bool take_element(const char *parent, const char *name, const char *text, void *arg);
static void clean_page(PromListing *listing);
static int	compare_objects(const void *a, const void *b);

PromListing *
prom_bucket_list(PromBucket *bucket, const char *prefix, const char *after, const char *delimiter, int page_size)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "promgres listing", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	PromListing *l = palloc0(sizeof(PromListing));

	l->bucket = bucket;
	l->context = context;
	l->page = AllocSetContextCreate(context, "promgres page of a listing", ALLOCSET_DEFAULT_SIZES);
	l->prefix = psprintf("%s%s", bucket->prefix, prefix);
	l->after = after != NULL ? psprintf("%s%s", bucket->prefix, after) : NULL;
	l->delimiter = delimiter != NULL ? pstrdup(delimiter) : NULL;
	l->page_size = page_size;
	MemoryContextSwitchTo(old);
	return l;
}

bool
prom_listing_next(PromListing *listing, PromObject *object)
{
	while (listing->next == listing->objects.n)
	{
		if (listing->begun && listing->token == NULL)
			return false;
		read_page(listing);
	}
	*object = ((PromObject *) listing->objects.items)[listing->next++];
	return true;
}

void
prom_listing_end(PromListing *listing)
{
	MemoryContextDelete(listing->context);
}

static void
read_page(PromListing *listing)
{
	MemoryContext old;
	PromTransfer *answer;
	const char *reason;

	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(listing->page);
	old = MemoryContextSwitchTo(listing->page);
	listing->objects = (PromGrowing) {.context = listing->page,.item_size = sizeof(PromObject)};
	listing->next = 0;
	listing->encoded = listing->truncated = false;
	listing->next_token = NULL;
	memset(&listing->one, 0, sizeof(PromObject));

	answer = request_page(listing);
	if (answer->status != PROM_TRANSFER_OK)
		prom_transfer_raise(answer);
	if (!prom_xml_read(answer->body != NULL ? answer->body : "", answer->body_size, take_element, listing, &reason))
		prom_answer_malformed(listing->bucket, "list", reason);
	clean_page(listing);
	MemoryContextSwitchTo(old);

	if (listing->truncated && listing->next_token == NULL)
		prom_answer_malformed(listing->bucket, "list", "it says that there is more, and not where");
	if (listing->truncated && listing->token != NULL && strcmp(listing->token, listing->next_token) == 0)
		prom_answer_malformed(listing->bucket, "list", "the same page comes again and again");
	if (listing->token != NULL)
		pfree(listing->token);
	listing->token = listing->truncated ? MemoryContextStrdup(listing->context, listing->next_token) : NULL;
	listing->begun = true;
}

static PromTransfer *
request_page(PromListing *listing)
{
	PromTransfer get = {.verb = PROM_VERB_GET,.length = -1,.max_size = MAX_PAGE_BYTES};
	PromRequest request = {.method = "GET",.doing = "list",.wants_body = true,.xml_answer = true};

	prom_request_query(&request, "list-type", "2");
	prom_request_query(&request, "encoding-type", "url");
	if (listing->prefix[0] != '\0')
		prom_request_query(&request, "prefix", listing->prefix);
	if (listing->delimiter != NULL)
		prom_request_query(&request, "delimiter", listing->delimiter);
	if (listing->page_size > 0)
		prom_request_query(&request, "max-keys", psprintf("%d", listing->page_size));
	if (listing->token != NULL)
		prom_request_query(&request, "continuation-token", listing->token);
	else if (listing->after != NULL)
		prom_request_query(&request, "start-after", listing->after);
	return prom_request_run(listing->bucket, &get, &request);
}

static bool
take_element(const char *parent, const char *name, const char *text, void *arg)
{
	PromListing *l = arg;
	PromGrowing *objects = &l->objects;
	bool		in_object = strcmp(parent, "Contents") == 0;

	if (parent[0] == '\0')
		return strcmp(name, "ListBucketResult") == 0;
	if (text == NULL)
		return true;
	if ((in_object && strcmp(name, "Key") == 0) || (strcmp(parent, "CommonPrefixes") == 0 && strcmp(name, "Prefix") == 0))
		return (l->one.key = prom_growing_text(objects, text)) != NULL;
	if (in_object && strcmp(name, "ETag") == 0)
		return (l->one.etag = prom_growing_etag(objects, text)) != NULL;
	if (in_object && strcmp(name, "Size") == 0)
		l->one.size = strtoll(text, NULL, 10);
	else if (in_object && strcmp(name, "LastModified") == 0)
		l->one.modified = prom_xml_time(text);
	else if (strcmp(name, "Contents") == 0 || strcmp(name, "CommonPrefixes") == 0)
	{
		PromObject *object = prom_growing_add(objects);

		if (object == NULL || l->one.key == NULL)
			return false;
		if (name[1] == 'o' && name[2] == 'm')
			l->one.size = -1;
		*object = l->one;
		memset(&l->one, 0, sizeof(PromObject));
	}
	else if (strcmp(name, "EncodingType") == 0)
		l->encoded = strcmp(text, "url") == 0;
	else if (strcmp(name, "IsTruncated") == 0)
		l->truncated = strcmp(text, "true") == 0;
	else if (strcmp(name, "NextContinuationToken") == 0)
		return (l->next_token = prom_growing_text(objects, text)) != NULL;
	return true;
}

/* Decode keys, and leave out the bucket's prefix. */
static void
clean_page(PromListing *listing)
{
	PromObject *objects = listing->objects.items;
	size_t		prefix_len = strlen(listing->bucket->prefix);

	for (int i = 0; i < listing->objects.n; i++)
	{
		if (listing->encoded)
			prom_xml_unquote((char *) objects[i].key);
		if (strncmp(objects[i].key, listing->prefix, strlen(listing->prefix)) != 0)
			prom_answer_malformed(listing->bucket, "list", "a key has another prefix");
		objects[i].key += prefix_len;
	}
	if (listing->objects.n > 1)
		qsort(objects, listing->objects.n, sizeof(PromObject), compare_objects);
}

static int
compare_objects(const void *a, const void *b)
{
	return strcmp(((const PromObject *) a)->key, ((const PromObject *) b)->key);
}
