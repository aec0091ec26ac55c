/* One case with libmosquitto, as main.rs runs it: <case> <port> <messages>. Prints milliseconds of processor
 * time per message. */
#include <mosquitto.h>
#include "common.h"

static void published(struct mosquitto *client, void *context, int id) {
    (void)client, (void)context, (void)id;
    one_done();
}

static void came(struct mosquitto *client, void *context, const struct mosquitto_message *message) {
    (void)context;
    if (received_one(message->payload, (size_t)message->payloadlen)) mosquitto_disconnect(client);
}

static void subscribed(struct mosquitto *client, void *context, int id, int count, const int *granted) {
    (void)client, (void)context, (void)id, (void)count, (void)granted;
    say_ready();
}

int main(int count, char **arguments) {
    struct run run = begin(count, arguments);
    mosquitto_lib_init();
    struct mosquitto *client = mosquitto_new(NULL, true, NULL);
    mosquitto_max_inflight_messages_set(client, IN_FLIGHT);
    mosquitto_publish_callback_set(client, published);
    mosquitto_message_callback_set(client, came);
    mosquitto_subscribe_callback_set(client, subscribed);
    check(mosquitto_connect(client, "127.0.0.1", run.port, 60) == MOSQ_ERR_SUCCESS, "connect");
    if (run.is_receiving) {
        mosquitto_subscribe(client, NULL, TOPIC, run.qos);
        mosquitto_loop_forever(client, -1, 1);
        finish_receiving();
        return 0;
    }
    mosquitto_loop_start(client);
    static char payload[PAYLOAD];
    double before = cpu_milliseconds();
    for (long at = 0; at < run.messages; at++) {
        wait_for_room();
        check(mosquitto_publish(client, NULL, TOPIC, PAYLOAD, payload, run.qos, false) == MOSQ_ERR_SUCCESS, "publish");
    }
    wait_for_all();
    printf("%g\n", (cpu_milliseconds() - before) / (double)run.messages);
    return 0;
}
