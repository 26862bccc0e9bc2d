#include "resolver/ctl/ask.h"

#include <stdio.h>
#include <string.h>

/* What is wrong with a GET was typed; a POST that is refused may be so for the list's sake. */
static enum ctl_exit exit_of(const char *method, unsigned status)
{
    if (status == 400 && strcmp(method, "GET") == 0) {
        return CTL_USAGE;
    }
    return status == 404 ? CTL_NOT_FOUND : CTL_FAILED;
}

int ctl_ask_text(struct ctl *ctl, const char *method, const char *target, const char *type,
                 const char *body, size_t body_size, struct ctl_response *ret_response)
{
    const char *path = NULL;
    char error[CTL_ERROR_SIZE] = "";
    struct ctl_response response = {0};

    int status = ctl_socket(ctl, &path);
    if (status != CTL_DONE) {
        return status;
    }
    if (ctl_request(path, method, target, type, body, body_size, &response, error) < 0) {
        return ctl_fail(ctl, CTL_FAILED, "%s", error);
    }
    if (response.status < 400) {
        *ret_response = response;
        return CTL_DONE;
    }
    json_t *document = json_loadb(response.body, response.body_size, 0, NULL);
    const char *why = ctl_json_text(document, "error");
    if (why[0] != '\0') {
        status = ctl_fail(ctl, exit_of(method, response.status), "sinkholed: %s", why);
    } else {
        status = ctl_fail(ctl, CTL_FAILED, "sinkholed refused, and gave no reason (HTTP status %u)",
                          response.status);
    }
    json_decref(document);
    ctl_response_done(&response);
    return status;
}

int ctl_ask(struct ctl *ctl, const char *method, const char *target, const char *type,
            const char *body, size_t body_size, json_t **ret_document)
{
    struct ctl_response response = {0};

    int status = ctl_ask_text(ctl, method, target, type, body, body_size, &response);
    if (status != CTL_DONE) {
        return status;
    }
    json_t *document = json_loadb(response.body, response.body_size, 0, NULL);
    ctl_response_done(&response);
    if (!json_is_object(document)) {
        json_decref(document);
        return ctl_fail(ctl, CTL_FAILED,
                        "the answer is no JSON object: is this sinkholed's control socket?");
    }
    *ret_document = document;
    return CTL_DONE;
}

const char *ctl_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

const char *ctl_json_scalar(const json_t *value, char buffer[static 32])
{
    if (json_is_string(value)) {
        return json_string_value(value);
    }
    if (json_is_boolean(value)) {
        return json_is_true(value) ? "yes" : "no";
    }
    if (json_is_integer(value)) {
        snprintf(buffer, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return buffer;
    }
    if (json_is_real(value)) {
        snprintf(buffer, 32, "%.6g", json_real_value(value));
        return buffer;
    }
    return "";
}
