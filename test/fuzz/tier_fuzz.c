/*
 * tier_fuzz.c
 *	  Signs the published examples, and throws XML at xml.c, outside the server.
 *
 *		tier_fuzz SECONDS [SEED]
 *
 * First the examples of Amazon's documentation of S3 and of the test suite of Signature Version 4: method,
 * path, query, headers and body as printed there, and the signature that must come out.  Then listings
 * and errors with known values are built, read back and compared; and spoiled, cut and made up ones are
 * read, where nothing may be told that is longer or deeper than the contract.
 */
#include "c.h"

#include "tier/sigv4.h"
#include "tier/xml.h"

#include "harness.h"
#undef snprintf

/* --- signatures --- */

#define MAX_PAIRS 8

typedef struct Vector
{
	const char *name;
	const char *method;
	const char *path;
	PromPair	query[MAX_PAIRS];
	PromPair	headers[MAX_PAIRS];
	const char *body;
	const char *signature;
} Vector;

#define DOC_DATE	{"x-amz-date", "20130524T000000Z"}
#define DOC_HOST	{"host", "examplebucket.s3.amazonaws.com"}
#define DOC_EMPTY	{"x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
#define SUITE_DATE	{"x-amz-date", "20150830T123600Z"}
#define SUITE_HOST	{"host", "example.amazonaws.com"}

static const Vector doc_vectors[] = {
	{"get with range", "GET", "/test.txt", {{NULL}}, {DOC_HOST, {"range", "bytes=0-9"}, DOC_EMPTY, DOC_DATE}, "",
	"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
	{"put", "PUT", "/test$file.text", {{NULL}},
		{{"date", "Fri, 24 May 2013 00:00:00 GMT"}, DOC_HOST,
			{"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
	DOC_DATE, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}, "Welcome to Amazon S3.",
	"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
	{"lifecycle", "GET", "/", {{"lifecycle", ""}}, {DOC_HOST, DOC_EMPTY, DOC_DATE}, "",
	"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
	{"list", "GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {DOC_HOST, DOC_EMPTY, DOC_DATE}, "",
	"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static const Vector suite_vectors[] = {
	{"get-vanilla", "GET", "/", {{NULL}}, {SUITE_HOST, SUITE_DATE}, "",
	"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-vanilla-empty-query-key", "GET", "/", {{"Param1", "value1"}}, {SUITE_HOST, SUITE_DATE}, "",
	"a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
	{"get-vanilla-query-order-key-case", "GET", "/", {{"Param2", "value2"}, {"Param1", "value1"}}, {SUITE_HOST, SUITE_DATE}, "",
	"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
	{"get-utf8", "GET", "/\xe1\x88\xb4", {{NULL}}, {SUITE_HOST, SUITE_DATE}, "",
	"8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
	{"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", {{NULL}}, {SUITE_HOST, SUITE_DATE}, "",
	"07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
	{"post-vanilla", "POST", "/", {{NULL}}, {SUITE_HOST, SUITE_DATE}, "",
	"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{"post-x-www-form-urlencoded", "POST", "/", {{NULL}},
	{{"content-type", "application/x-www-form-urlencoded"}, SUITE_HOST, SUITE_DATE}, "Param1=value1",
	"ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
};

static void
check_vector(const Vector *v, bool s3)
{
	char		path_data[512];
	char		query_data[512];
	char		scratch_data[4096];
	char		authorization_data[1024];
	char		hash[PROM_SIGV4_HASH_BYTES];
	PromText	path = {.data = path_data, .size = sizeof(path_data)};
	PromText	query = {.data = query_data, .size = sizeof(query_data)};
	PromText	scratch = {.data = scratch_data, .size = sizeof(scratch_data)};
	PromText	authorization = {.data = authorization_data, .size = sizeof(authorization_data)};
	PromPair	pairs[MAX_PAIRS];
	PromSigV4	request;
	int			npairs = 0;
	const char *signature;

	memset(&request, 0, sizeof(request));
	memcpy(pairs, v->query, sizeof(pairs));
	while (pairs[npairs].name != NULL)
		npairs++;
	prom_sigv4_encode(&path, v->path, true);
	prom_text_put(&path, "", 1);
	prom_sigv4_query(&query, pairs, npairs);
	prom_text_put(&query, "", 1);
	if (!prom_sigv4_hash(v->body, strlen(v->body), hash))
		fail("no SHA-256");

	request.method = v->method;
	request.path = path_data;
	request.query = query_data;
	request.headers = v->headers;
	while (v->headers[request.nheaders].name != NULL)
		request.nheaders++;
	request.payload_hash = hash;
	request.time = s3 ? "20130524T000000Z" : "20150830T123600Z";
	request.region = "us-east-1";
	request.service = s3 ? "s3" : "service";
	request.access_key = s3 ? "AKIAIOSFODNN7EXAMPLE" : "AKIDEXAMPLE";
	request.secret_key = s3 ? "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" : "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
	if (!prom_sigv4_sign(&request, &scratch, &authorization))
		fail(v->name);
	signature = strstr(authorization_data, "Signature=");
	if (signature == NULL || strcmp(signature + strlen("Signature="), v->signature) != 0)
	{
		printf("%s\n", authorization_data);
		fail(v->name);
	}

	/* too little room is told, and nothing is written behind it */
	for (size_t size = 0; size < authorization.len; size += 7)
	{
		PromText	small = {.data = malloc(size + 1), .size = size};

		scratch.len = 0;
		if (prom_sigv4_sign(&request, &scratch, &small))
			fail("an authorization was cut");
		free(small.data);
	}
}

static void
check_vectors(void)
{
	for (int i = 0; i < lengthof(doc_vectors); i++)
		check_vector(&doc_vectors[i], true);
	for (int i = 0; i < lengthof(suite_vectors); i++)
		check_vector(&suite_vectors[i], false);
}

/* --- XML --- */

#define MAX_KEYS 8
#define MAX_KEY 24

typedef struct Seen
{
	char		keys[MAX_KEYS][MAX_KEY * 4];
	int			nkeys;
	int			depth;
	bool		spoiled;		/* anything may come */
} Seen;

static bool
see(const char *parent, const char *name, const char *text, void *arg)
{
	Seen	   *seen = arg;

	if (strlen(name) > PROM_XML_MAX_NAME || (text != NULL && strlen(text) > PROM_XML_MAX_TEXT))
		fail("told more than the contract allows");
	seen->depth += text == NULL ? 1 : -1;
	if (seen->depth < 0 || seen->depth > PROM_XML_MAX_DEPTH)
		fail("ends without a beginning");
	if (!seen->spoiled && text != NULL && strcmp(name, "Key") == 0 && strcmp(parent, "Contents") == 0)
		strcpy(seen->keys[seen->nkeys++], text);
	return !seen->spoiled || next_random() % 1000 != 0;
}

/* One character of a key, and how it may stand in XML. */
static void
random_character(char *raw, char *xml)
{
	static const struct
	{
		const char *raw;
		const char *xml;
	}			odd[] = {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}, {"\xc3\xbc", "&#xFC;"},
	{"\xc3\xbc", "\xc3\xbc"}, {"]]", "<![CDATA[]]]]>"}, {"\xf0\x9f\x98\x80", "&#x1F600;"}, {" ", " "}, {"%", "%"}};
	int			which = next_random() % (2 * lengthof(odd));

	if (which < lengthof(odd))
	{
		strcat(raw, odd[which].raw);
		strcat(xml, odd[which].xml);
	}
	else
	{
		char		letter[2] = {'a' + next_random() % 26, '\0'};

		strcat(raw, letter);
		strcat(xml, letter);
	}
}

static void
check_xml(void)
{
	char		text[8192] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
	char		keys[MAX_KEYS][MAX_KEY * 4];
	int			nkeys = next_random() % (MAX_KEYS + 1);
	Seen		seen = {.nkeys = 0};
	const char *reason;
	size_t		len;
	char	   *exact;

	for (int i = 0; i < nkeys; i++)
	{
		char		xml[MAX_KEY * 16] = "";

		keys[i][0] = '\0';
		for (int n = next_random() % MAX_KEY; n >= 0; n--)
			random_character(keys[i], xml);
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
				 next_random() % 2 == 0 ? "<Contents><Key>%s</Key><Size>7</Size></Contents>" :
				 "\n <s3:Contents xmlns:s3=\"x\">\n <s3:Key>%s</s3:Key><Owner><Key>no</Key></Owner></s3:Contents>", xml);
	}
	strcat(text, "</ListBucketResult>");

	len = strlen(text);
	exact = malloc(len);
	memcpy(exact, text, len);
	if (!prom_xml_read(exact, len, see, &seen, &reason))
		fail(reason);
	if (seen.nkeys != nkeys || seen.depth != 0)
		fail("keys are missing");
	for (int i = 0; i < nkeys; i++)
		if (strcmp(seen.keys[i], keys[i]) != 0)
			fail("a key has changed");

	for (int n = 1 + next_random() % 4; n > 0; n--)
		exact[next_random() % len] = next_random() % 3 == 0 ? "<>&/\"!?"[next_random() % 7] : (char) next_random();
	exact = realloc(exact, len = 1 + next_random() % len);
	memset(&seen, 0, sizeof(seen));
	seen.spoiled = true;
	(void) prom_xml_read(exact, len, see, &seen, &reason);
	free(exact);
}

/* What must be refused, and why. */
static void
check_refused(void)
{
	static const struct
	{
		const char *xml;
		const char *reason;
	}			cases[] = {
		{"<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "DOCTYPE"},
		{"<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>", "DOCTYPE"},
		{"<a><b><c><d><e><f><g><h><i/></h></g></f></e></d></c></b></a>", "elements too deep"},
		{"<a>", NULL},
		{"", NULL},
		{"<a/><b/>", NULL},
		{"<a>&b;</a>", NULL},
		{"<a>\xff</a>", NULL},
	};
	Seen		seen;
	const char *reason;
	size_t		len = PROM_XML_MAX_TEXT + 8;
	char	   *longest = malloc(len);

	for (int i = 0; i < lengthof(cases); i++)
	{
		memset(&seen, 0, sizeof(seen));
		if (prom_xml_read(cases[i].xml, strlen(cases[i].xml), see, &seen, &reason) ||
			(cases[i].reason != NULL && strcmp(reason, cases[i].reason) != 0))
			fail(cases[i].xml);
	}

	memset(longest, 'x', len);
	memcpy(longest, "<a>", 3);
	memcpy(longest + len - 4, "</a>", 4);
	memset(&seen, 0, sizeof(seen));
	if (prom_xml_read(longest, len, see, &seen, &reason) == (len - 7 > PROM_XML_MAX_TEXT))
		fail("the longest text");
	free(longest);
	longest = malloc(len = PROM_XML_MAX_TEXT + 7);
	memset(longest, 'x', len);
	memcpy(longest, "<a>", 3);
	memcpy(longest + len - 4, "</a>", 4);
	memset(&seen, 0, sizeof(seen));
	if (!prom_xml_read(longest, len, see, &seen, &reason))
		fail("a text as long as allowed");
	free(longest);
}

int
main(int argc, char **argv)
{
	time_t		end = fuzz_begin(argc, argv);

	check_vectors();
	check_refused();
	return fuzz_rounds(end, check_xml);
}
