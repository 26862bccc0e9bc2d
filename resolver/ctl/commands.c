/* The command line, declared: every option and every command, built or not. */
#include "resolver/ctl/ctl.h"

#define ANY CTL_WORDS_MAX

const struct ctl_option_text ctl_options[CTL_OPTION_COUNT] = {
    [CTL_OPTION_CONFIG] = {'c', "config", "FILE",
                           "the daemon's configuration (" CTL_CONFIG_PATH ")"},
    [CTL_OPTION_SOCKET] = {'s', "socket", "SOCKET", "the control socket (the configuration's)"},
    [CTL_OPTION_JSON] = {0, "json", NULL, "print one JSON document"},
    [CTL_OPTION_QUIET] = {0, "quiet", NULL, "print errors only (and what --json asks for)"},
    [CTL_OPTION_HELP] = {'h', "help", NULL, "print this help"},
    [CTL_OPTION_CATEGORY] = {0, "category", "C", "kind of threat: malware, phishing, ..."},
    [CTL_OPTION_CLIENT] = {0, "client", "ADDR", "as asked from this address"},
    [CTL_OPTION_DRY_RUN] = {0, "dry-run", NULL, "say what would change, and change nothing"},
    [CTL_OPTION_EXACT] = {0, "exact", NULL, "the name alone, not what is below it"},
    [CTL_OPTION_FEED] = {0, "feed", "F", "the feed to change (operator); with Redis only"},
    [CTL_OPTION_FORMAT] = {0, "format", "X", "auto, plain or hosts (auto)"},
    [CTL_OPTION_KIND] = {0, "kind", "K", "deny or allow (deny), for a new feed"},
    [CTL_OPTION_LABEL] = {0, "label", "L", "the feed's public label, which clients may see"},
    [CTL_OPTION_MERGE] = {0, "merge", NULL, "add and change only, remove nothing"},
    [CTL_OPTION_NAME] = {0, "name", "F", "the feed; created if it does not exist"},
    [CTL_OPTION_PRIORITY] = {0, "priority", "N", "higher wins among denies of one name (100)"},
    [CTL_OPTION_REASON] = {0, "reason", "TEXT", "why, for the record"},
    [CTL_OPTION_REJECTS] = {0, "rejects", "FILE", "write every refused line there"},
    [CTL_OPTION_REPLACE] = {0, "replace", NULL, "make the feed equal to the file (the default)"},
    [CTL_OPTION_TIER] = {0, "tier", "N", "feed, operator or legal (feed), for a new feed"},
    [CTL_OPTION_TYPE] = {0, "type", "T", "the type asked for (A)"},
};

static const char block_details[] =
    "A listed name and, without --exact, every name below it is answered as the configuration\n"
    "says. The root, single labels, public suffixes and arpa are refused. International names\n"
    "are taken as they are written and stored as A-labels.";
static const char unblock_details[] =
    "Takes names out of the operator's feed, or out of the one --feed names. A name that another\n"
    "feed lists stays blocked: allow it instead, sinkholectl why NAME tells. Exit status 3 when a\n"
    "name was not listed.";
static const char allow_details[] =
    "The operator's word goes before that of feeds, however long the names are. A name can be\n"
    "blocked or allowed by the operator, not both: the last word holds.";
static const char import_details[] =
    "FILE has one name a line (plain) or is a hosts file; - is standard input. Lines that can't\n"
    "be used are passed over, counted and shown. With Redis only the difference to the feed's\n"
    "present content is sent; an import that was interrupted leaves the feed marked as importing,\n"
    "and running the same import again completes it. Without Redis the daemon keeps the feed in\n"
    "its state folder.";
static const char why_details[] =
    "Shows every rule that matches the name, which of them holds and why the others do not, and\n"
    "the answer that a client would get.";
static const char feed_list_details[] =
    "With Redis the feeds are read there, also while the daemon is down; otherwise the daemon's.";
static const char nodes_details[] =
    "With Redis every node that has registered there; a node is live when it was seen within 15\n"
    "seconds. Otherwise this node alone.";

#define LATER(command_name)                                                                        \
    {                                                                                              \
        .name = (command_name), .arguments = "", .text = ""                                        \
    }

const struct ctl_command ctl_commands[] = {
    {"status", "", "The node at a glance: ready, list, Redis, recursors, counters", NULL, 0, NULL,
     0, 0, ctl_run_status},
    {"why", "NAME [--type T] [--client ADDR]", "Why a name is blocked or not", why_details,
     CTL_SET(CTL_OPTION_TYPE) | CTL_SET(CTL_OPTION_CLIENT), NULL, 1, 1, ctl_run_why},
    {"block", "NAME... [--exact] [--reason TEXT]", "List names", block_details,
     CTL_SET(CTL_OPTION_EXACT) | CTL_SET(CTL_OPTION_FEED) | CTL_SET(CTL_OPTION_CATEGORY) |
         CTL_SET(CTL_OPTION_REASON),
     "from until for family actor state confidence tlp country operation legal wait", 1, ANY,
     ctl_run_block},
    {"unblock", "NAME... [--feed F] [--reason TEXT]", "Take names off the list", unblock_details,
     CTL_SET(CTL_OPTION_FEED) | CTL_SET(CTL_OPTION_REASON), "all-feeds wait", 1, ANY,
     ctl_run_unblock},
    {"allow", "NAME... [--exact] [--reason TEXT]", "Free names, whatever feeds list", allow_details,
     CTL_SET(CTL_OPTION_EXACT) | CTL_SET(CTL_OPTION_REASON), "until wait", 1, ANY, ctl_run_allow},
    {"unallow", "NAME...", "Take back what allow did", NULL, CTL_SET(CTL_OPTION_REASON), "wait", 1,
     ANY, ctl_run_unallow},
    {"feed list", "", "All feeds", feed_list_details, 0, NULL, 0, 0, ctl_run_feed_list},
    {"feed import", "FILE|- --name F [--merge]", "Make a feed equal to a file", import_details,
     CTL_SET(CTL_OPTION_NAME) | CTL_SET(CTL_OPTION_FORMAT) | CTL_SET(CTL_OPTION_REPLACE) |
         CTL_SET(CTL_OPTION_MERGE) | CTL_SET(CTL_OPTION_DRY_RUN) | CTL_SET(CTL_OPTION_REJECTS) |
         CTL_SET(CTL_OPTION_KIND) | CTL_SET(CTL_OPTION_CATEGORY) | CTL_SET(CTL_OPTION_LABEL) |
         CTL_SET(CTL_OPTION_PRIORITY) | CTL_SET(CTL_OPTION_TIER),
     NULL, 1, 1, ctl_run_feed_import},
    {"nodes", "", "The nodes and what each has applied", nodes_details, 0, "watch", 0, 0,
     ctl_run_nodes},
    {"metrics", "[PREFIX]", "The node's metrics, or those whose names begin so", NULL, 0, NULL, 0,
     1, ctl_run_metrics},
    {"reload", "", "Read the configuration and the list files again", NULL, 0, NULL, 0, 0,
     ctl_run_reload},
    {"config check", "[FILE]", "Check a configuration", NULL, 0, NULL, 0, 1, ctl_run_config_check},
    {"config options", "", "All options with their defaults and bounds", NULL, 0, NULL, 0, 0,
     ctl_run_config_options},
    {"version", "", "Versions of sinkholectl and its libraries", NULL, 0, NULL, 0, 0,
     ctl_run_version},
    {"help", "[COMMAND]", "This overview, or the help of one command", NULL, 0, NULL, 0, 2,
     ctl_run_help},
    LATER("feed show"),
    LATER("feed create"),
    LATER("feed set"),
    LATER("feed remove"),
    LATER("feed export"),
    LATER("feed follow"),
    LATER("feed approve"),
    LATER("feed rollback"),
    LATER("feed reshard"),
    LATER("operation"),
    LATER("nodes show"),
    LATER("nodes forget"),
    LATER("audit"),
    LATER("recursors"),
    LATER("cache"),
    LATER("report"),
    LATER("hits"),
    LATER("snapshot"),
    LATER("config show"),
    LATER("config diff"),
    LATER("log-level"),
    LATER("upgrade"),
    LATER("doctor"),
    LATER("completion"),
};
const size_t ctl_command_count = sizeof(ctl_commands) / sizeof(ctl_commands[0]);
