%code top {
/*
 * gram.y
 *	  Tokens -> tree of PromQL.
 *
 * The places of "error" decide how a token that does not fit is described: the innermost open
 * construct that has one tells what it expected instead.  Actions only call the makers of node.c, which
 * raise what can be told without types; nothing recovers from an error.
 *
 * Fill modifiers, anchored, smoothed and arithmetic in durations are experimental in Prometheus: node.c
 * rejects them in its words unless the setting allows them, once they are known to be well formed.
 */
#include "postgres.h"

}

%code requires {
#include "promql/parse.h"
}

%code provides {
extern int	promql_yylex(PROMQL_YYSTYPE *value, PromqlSpan *span, PromqlParser *parser);
}

%code {
#define YYMALLOC palloc
#define YYFREE pfree
#define YYMAXDEPTH (10 * PROMQL_MAX_DEPTH)

static void yyerror(PromqlSpan *span, PromqlParser *parser, const char *message);
static PromqlNode *modifiers(bool returns_bool);
static PromqlNode *match_on(PromqlNode *m, bool on, List *labels);
static PromqlNode *grouped(PromqlNode *m, PromqlCard card, List *include);
static PromqlNode *negated(PromqlNode *duration, PromqlSpan span, bool minus);
static PromqlNode *group_by(bool without, List *labels);
}

%define api.prefix {promql_yy}
%define api.token.prefix {TOK_}
%define api.pure full
%define api.location.type {PromqlSpan}
%locations
%parse-param {PromqlParser *parser}
%lex-param {PromqlParser *parser}

%union
{
	double		number;
	int64		ms;
	char	   *text;
	int			agg;
	PromMatchType match;
	PromMatcher *matcher;
	List	   *list;
	PromqlNode *node;
}

/* what is to be parsed; FINISH is the end of the text */
%token PARSE_EXPRESSION PARSE_SELECTOR FINISH
%token <number> NUMBER
%token <ms> DURATION
%token <text> STRING
%token <agg> AGGREGATOR
%token IDENTIFIER METRIC_IDENTIFIER
%token ADD SUB MUL DIV MOD POW ATAN2 EQLC NEQ LSS LTE GTR GTE TRIM_UPPER TRIM_LOWER AND OR UNLESS
%token EQL_REGEX NEQ_REGEX
%token BY WITHOUT ON IGNORING GROUP_LEFT GROUP_RIGHT BOOL OFFSET AT ANCHORED SMOOTHED
%token START END STEP RANGE MIN_OF MAX_OF FILL FILL_LEFT FILL_RIGHT

%type <node> expr selector call aggregate literal operator_modifiers matching_modifiers bool_modifier
%type <node> grouping_modifier range_duration offset_duration offset_computed duration_literal duration_call
%type <agg> aggregator
%type <list> arguments argument_list label_list labels optional_labels matchers matcher_list
%type <text> label metric_name
%type <number> signed_number fill_value
%type <matcher> matcher
%type <match> match_operator

/* lowest first; a list in parentheses after group_left is its labels */
%nonassoc NO_LABELS
%nonassoc '('
%left OR
%left AND UNLESS
%left EQLC NEQ LSS LTE GTR GTE TRIM_UPPER TRIM_LOWER
%left ADD SUB
%left MUL DIV MOD ATAN2
%right POW
%nonassoc OFFSET AT ANCHORED SMOOTHED
%right '['

%%

input:
			PARSE_EXPRESSION expr FINISH	{ parser->result = $2; }
			| PARSE_EXPRESSION FINISH
				{
					/* Prometheus has no place for it in a text without any character */
					promql_error(parser->text, parser->text[0] ? 0 : -1, "no expression found in input");
				}
			| PARSE_SELECTOR selector FINISH	{ parser->result = $2; }
			| error							{ promql_unexpected(parser, NULL, NULL); }
		;

expr:
			literal
			| STRING						{ $$ = promql_make_text(@$, $1); }
			| selector
			| call
			| aggregate
			| '(' expr ')'
				{
					$$ = promql_node(PROMQL_PAREN, @$);
					$$->left = $2;
				}
			| ADD expr %prec MUL			{ $$ = promql_make_unary(@$, PROMQL_ADD, $2); }
			| SUB expr %prec MUL			{ $$ = promql_make_unary(@$, PROMQL_SUB, $2); }
			| expr ADD operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_ADD, @2, $3, $1, $4); }
			| expr SUB operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_SUB, @2, $3, $1, $4); }
			| expr MUL operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_MUL, @2, $3, $1, $4); }
			| expr DIV operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_DIV, @2, $3, $1, $4); }
			| expr MOD operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_MOD, @2, $3, $1, $4); }
			| expr POW operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_POW, @2, $3, $1, $4); }
			| expr ATAN2 operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_ATAN2, @2, $3, $1, $4); }
			| expr EQLC operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_EQ, @2, $3, $1, $4); }
			| expr NEQ operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_NE, @2, $3, $1, $4); }
			| expr LSS operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_LT, @2, $3, $1, $4); }
			| expr LTE operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_LE, @2, $3, $1, $4); }
			| expr GTR operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_GT, @2, $3, $1, $4); }
			| expr GTE operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_GE, @2, $3, $1, $4); }
			| expr TRIM_UPPER operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_TRIM_UPPER, @2, $3, $1, $4); }
			| expr TRIM_LOWER operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_TRIM_LOWER, @2, $3, $1, $4); }
			| expr AND operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_AND, @2, $3, $1, $4); }
			| expr OR operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_OR, @2, $3, $1, $4); }
			| expr UNLESS operator_modifiers expr	{ $$ = promql_make_binary(@$, PROMQL_UNLESS, @2, $3, $1, $4); }
			| expr OFFSET offset_duration
				{
					promql_set_offset(parser, $1, $3);
					$$ = $1;
					$$->end = @$.end;
				}
			| expr OFFSET error				{ promql_unexpected(parser, "offset", "number, duration, step(), or range()"); }
			| expr AT signed_number
				{
					promql_set_at(parser, $1, PROMQL_AT_TIME, $3);
					$$ = $1;
					$$->end = @$.end;
				}
			| expr AT START '(' ')'
				{
					promql_set_at(parser, $1, PROMQL_AT_START, 0);
					$$ = $1;
					$$->end = @$.end;
				}
			| expr AT END '(' ')'
				{
					promql_set_at(parser, $1, PROMQL_AT_END, 0);
					$$ = $1;
					$$->end = @$.end;
				}
			| expr AT error					{ promql_unexpected(parser, "@", "timestamp"); }
			| expr ANCHORED
				{
					promql_set_extended(parser, $1, true);
					$$ = $1;
					$$->end = @$.end;
				}
			| expr SMOOTHED
				{
					promql_set_extended(parser, $1, false);
					$$ = $1;
					$$->end = @$.end;
				}
			| expr '[' range_duration ']'
				{
					$$ = promql_set_range(parser, $1, $3, (PromqlSpan) {@2.start, @4.end});
				}
			| expr '[' range_duration ':' range_duration ']'
				{
					$$ = promql_make_subquery(parser, @$, $1, $3, $5);
				}
			| expr '[' range_duration ':' ']'
				{
					$$ = promql_make_subquery(parser, @$, $1, $3, NULL);
				}
			| expr '[' range_duration ':' range_duration error
				{
					promql_unexpected(parser, "subquery selector", "\"]\"");
				}
			| expr '[' range_duration ':' error
				{
					promql_unexpected(parser, "subquery selector", "number, duration, step(), range(), or \"]\"");
				}
			| expr '[' range_duration error	{ promql_unexpected(parser, "subquery or range", "\":\" or \"]\""); }
			| expr '[' error
				{
					promql_unexpected(parser, "subquery or range selector", "number, duration, step(), or range()");
				}
		;

literal:
			NUMBER							{ $$ = promql_make_number(@$, $1); }
			| DURATION						{ $$ = promql_make_duration(@$, $1); }
		;

signed_number:
			NUMBER							{ $$ = $1; }
			| ADD NUMBER					{ $$ = $2; }
			| SUB NUMBER					{ $$ = -$2; }
		;

/*
 * Selectors
 */

selector:
			metric_name						{ $$ = promql_make_selector(parser, @$, $1, NIL); }
			| metric_name matchers			{ $$ = promql_make_selector(parser, @$, $1, $2); }
			| matchers						{ $$ = promql_make_selector(parser, @$, NULL, $1); }
		;

metric_name:
			IDENTIFIER						{ $$ = promql_word(parser, @1); }
			| METRIC_IDENTIFIER				{ $$ = promql_word(parser, @1); }
			| AGGREGATOR					{ $$ = promql_word(parser, @1); }
			| name_keyword					{ $$ = promql_word(parser, @1); }
		;

matchers:
			'{' '}'							{ $$ = NIL; }
			| '{' matcher_list '}'			{ $$ = $2; }
			| '{' matcher_list ',' '}'		{ $$ = $2; }
		;

matcher_list:
			matcher							{ $$ = list_make1($1); }
			| matcher_list ',' matcher		{ $$ = lappend($1, $3); }
			| matcher_list error			{ promql_unexpected(parser, "label matching", "\",\" or \"}\""); }
		;

matcher:
			IDENTIFIER match_operator STRING
				{
					$$ = promql_make_matcher(parser, @$, $2, promql_word(parser, @1), $3);
				}
			| STRING match_operator STRING	{ $$ = promql_make_matcher(parser, @$, $2, $1, $3); }
			| STRING						{ $$ = promql_make_matcher(parser, @$, PROM_MATCH_EQ, NULL, $1); }
			| IDENTIFIER match_operator error	{ promql_unexpected(parser, "label matching", "string"); }
			| STRING match_operator error	{ promql_unexpected(parser, "label matching", "string"); }
			| IDENTIFIER error				{ promql_unexpected(parser, "label matching", "label matching operator"); }
			| error							{ promql_unexpected(parser, "label matching", "identifier or \"}\""); }
		;

match_operator:
			'='								{ $$ = PROM_MATCH_EQ; }
			| NEQ							{ $$ = PROM_MATCH_NE; }
			| EQL_REGEX						{ $$ = PROM_MATCH_RE; }
			| NEQ_REGEX						{ $$ = PROM_MATCH_NRE; }
		;

/*
 * Calls and aggregations
 */

call:
			IDENTIFIER arguments			{ $$ = promql_make_call(parser, @$, @1, $2); }
			| START arguments				{ $$ = promql_make_call(parser, @$, @1, $2); }
			| END arguments					{ $$ = promql_make_call(parser, @$, @1, $2); }
			| STEP arguments				{ $$ = promql_make_call(parser, @$, @1, $2); }
			| RANGE arguments				{ $$ = promql_make_call(parser, @$, @1, $2); }
			| MIN_OF arguments				{ $$ = promql_make_call(parser, @$, @1, $2); }
			| MAX_OF arguments				{ $$ = promql_make_call(parser, @$, @1, $2); }
		;

arguments:
			'(' ')'							{ $$ = NIL; }
			| '(' argument_list ')'			{ $$ = $2; }
		;

argument_list:
			expr							{ $$ = list_make1($1); }
			| argument_list ',' expr		{ $$ = lappend($1, $3); }
			| argument_list ','
				{
					promql_error(parser->text, @2.start, "trailing commas not allowed in function call args");
				}
		;

aggregate:
			aggregator arguments			{ $$ = promql_make_aggregate(parser, @$, $1, NULL, $2); }
			| aggregator grouping_modifier arguments
				{
					$$ = promql_make_aggregate(parser, @$, $1, $2, $3);
				}
			| aggregator arguments grouping_modifier
				{
					$$ = promql_make_aggregate(parser, @$, $1, $3, $2);
				}
			| aggregator error				{ promql_unexpected(parser, "aggregation", NULL); }
		;

/* before "(", by and without; else the word is a metric's name */
aggregator:
			AGGREGATOR						{ $$ = $1; }
		;

grouping_modifier:
			BY labels						{ $$ = group_by(false, $2); }
			| WITHOUT labels				{ $$ = group_by(true, $2); }
		;

labels:
			'(' ')'							{ $$ = NIL; }
			| '(' label_list ')'			{ $$ = $2; }
			| '(' label_list ',' ')'		{ $$ = $2; }
			| error							{ promql_unexpected(parser, "grouping opts", "\"(\""); }
		;

label_list:
			label							{ $$ = list_make1($1); }
			| label_list ',' label			{ $$ = lappend($1, $3); }
			| label_list error				{ promql_unexpected(parser, "grouping opts", "\",\" or \")\""); }
		;

label:
			label_word						{ $$ = promql_make_label(parser, @1, promql_word(parser, @1)); }
			| STRING						{ $$ = promql_make_label(parser, @1, $1); }
			| error							{ promql_unexpected(parser, "grouping opts", "label"); }
		;

label_word:
			IDENTIFIER | METRIC_IDENTIFIER | AGGREGATOR | name_keyword
			| ATAN2 | BOOL | ON | IGNORING | GROUP_LEFT | GROUP_RIGHT
		;

/* keywords that may name a metric */
name_keyword:
			AND | OR | UNLESS | BY | WITHOUT | OFFSET | ANCHORED | SMOOTHED
			| START | END | STEP | RANGE | MIN_OF | MAX_OF
		;

/*
 * What may stand between an operator and its right operand
 */

operator_modifiers:
			matching_modifiers
			| matching_modifiers FILL fill_value
				{
					promql_set_fill(parser, $1, @2, PROMQL_FILL_BOTH, $3);
					$$ = $1;
				}
			| matching_modifiers FILL_LEFT fill_value
				{
					promql_set_fill(parser, $1, @2, PROMQL_FILL_LEFT, $3);
					$$ = $1;
				}
			| matching_modifiers FILL_RIGHT fill_value
				{
					promql_set_fill(parser, $1, @2, PROMQL_FILL_RIGHT, $3);
					$$ = $1;
				}
			| matching_modifiers FILL_LEFT fill_value FILL_RIGHT fill_value
				{
					promql_set_fill(parser, $1, @2, PROMQL_FILL_LEFT, $3);
					promql_set_fill(parser, $1, @2, PROMQL_FILL_RIGHT, $5);
					$$ = $1;
				}
			| matching_modifiers FILL_RIGHT fill_value FILL_LEFT fill_value
				{
					promql_set_fill(parser, $1, @2, PROMQL_FILL_RIGHT, $3);
					promql_set_fill(parser, $1, @2, PROMQL_FILL_LEFT, $5);
					$$ = $1;
				}
		;

matching_modifiers:
			bool_modifier
			| bool_modifier ON labels		{ $$ = match_on($1, true, $3); }
			| bool_modifier IGNORING labels	{ $$ = match_on($1, false, $3); }
			| bool_modifier ON labels GROUP_LEFT optional_labels
				{
					$$ = grouped(match_on($1, true, $3), PROMQL_MANY_TO_ONE, $5);
				}
			| bool_modifier ON labels GROUP_RIGHT optional_labels
				{
					$$ = grouped(match_on($1, true, $3), PROMQL_ONE_TO_MANY, $5);
				}
			| bool_modifier IGNORING labels GROUP_LEFT optional_labels
				{
					$$ = grouped(match_on($1, false, $3), PROMQL_MANY_TO_ONE, $5);
				}
			| bool_modifier IGNORING labels GROUP_RIGHT optional_labels
				{
					$$ = grouped(match_on($1, false, $3), PROMQL_ONE_TO_MANY, $5);
				}
		;

bool_modifier:
			%empty							{ $$ = modifiers(false); }
			| BOOL							{ $$ = modifiers(true); }
		;

optional_labels:
			%empty %prec NO_LABELS			{ $$ = NIL; }
			| labels
		;

fill_value:
			'(' signed_number ')'			{ $$ = $2; }
		;

/*
 * Durations
 */

duration_literal:
			NUMBER							{ $$ = promql_make_number(@$, $1); }
			| DURATION						{ $$ = promql_make_duration(@$, $1); }
		;

range_duration:
			duration_literal
			| ADD range_duration %prec MUL	{ $$ = negated($2, @$, false); }
			| SUB range_duration %prec MUL	{ $$ = negated($2, @$, true); }
			| range_duration ADD range_duration	{ $$ = promql_make_duration_op(parser, @$, PROMQL_ADD, @2, $1, $3); }
			| range_duration SUB range_duration	{ $$ = promql_make_duration_op(parser, @$, PROMQL_SUB, @2, $1, $3); }
			| range_duration MUL range_duration	{ $$ = promql_make_duration_op(parser, @$, PROMQL_MUL, @2, $1, $3); }
			| range_duration DIV range_duration	{ $$ = promql_make_duration_op(parser, @$, PROMQL_DIV, @2, $1, $3); }
			| range_duration MOD range_duration	{ $$ = promql_make_duration_op(parser, @$, PROMQL_MOD, @2, $1, $3); }
			| range_duration POW range_duration	{ $$ = promql_make_duration_op(parser, @$, PROMQL_POW, @2, $1, $3); }
			| '(' range_duration ')'
				{
					promql_check_computed(parser, @2);
					$$ = promql_make_duration_parens(parser, @$, $2);
				}
			| duration_call
				{
					promql_check_computed(parser, @1);
					$$ = $1;
				}
		;

/* binds no operator: m offset 5m + 1 adds to m */
offset_duration:
			duration_literal
			| ADD duration_literal			{ $$ = negated($2, @$, false); }
			| SUB duration_literal			{ $$ = negated($2, @$, true); }
			| offset_computed
				{
					promql_check_computed(parser, @1);
					$$ = $1;
				}
			| ADD offset_computed
				{
					promql_check_computed(parser, @1);
					$$ = negated($2, @$, false);
				}
			| SUB offset_computed
				{
					promql_check_computed(parser, @1);
					$$ = negated($2, @$, true);
				}
		;

offset_computed:
			duration_call
			| '(' range_duration ')'		{ $$ = promql_make_duration_parens(parser, @$, $2); }
		;

duration_call:
			STEP '(' ')'					{ $$ = promql_make_duration_call(parser, @$, @1, NIL); }
			| RANGE '(' ')'					{ $$ = promql_make_duration_call(parser, @$, @1, NIL); }
			| MIN_OF '(' range_duration ',' range_duration ')'
				{
					$$ = promql_make_duration_call(parser, @$, @1, list_make2($3, $5));
				}
			| MAX_OF '(' range_duration ',' range_duration ')'
				{
					$$ = promql_make_duration_call(parser, @$, @1, list_make2($3, $5));
				}
		;

%%

/* Silent: the "error" alternatives of the grammar say what was expected. */
static void
yyerror(PromqlSpan *span, PromqlParser *parser, const char *message)
{
}

/* A node that carries the modifiers of an operator until its operands are known */
static PromqlNode *
modifiers(bool returns_bool)
{
	PromqlNode *m = promql_node(PROMQL_BINARY, (PromqlSpan) {0, 0});

	m->returns_bool = returns_bool;
	return m;
}

static PromqlNode *
match_on(PromqlNode *m, bool on, List *labels)
{
	m->has_matching = true;
	m->on = on;
	m->labels = labels;
	return m;
}

static PromqlNode *
grouped(PromqlNode *m, PromqlCard card, List *include)
{
	m->card = card;
	m->include = include;
	return m;
}

static PromqlNode *
group_by(bool without, List *labels)
{
	PromqlNode *m = promql_node(PROMQL_AGGREGATE, (PromqlSpan) {0, 0});

	m->has_grouping = true;
	m->without = without;
	m->labels = labels;
	return m;
}

/* The sign of a literal becomes part of it. */
static PromqlNode *
negated(PromqlNode *duration, PromqlSpan span, bool minus)
{
	if (duration->tag == PROMQL_NUMBER || minus)
		return promql_make_unary(span, minus ? PROMQL_SUB : PROMQL_ADD, duration);
	duration->start = span.start;
	return duration;
}
