// What users do with a broker, once for every version and QoS.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

import { Client, within } from './client.mjs';

const QUEUED = 50;
const SHARED = 200;
const TOPICS = 10_000;

// Topics never meet those of an earlier run against the same broker.
const RUN = randomBytes(2).toString('hex');
let settings = 0;

// One version against one broker, with topics and client ids of its own.
export class Setting {
  #clients = 0;

  constructor(mqtt, version, host, port) {
    this.mqtt = mqtt;
    this.version = version;
    this.address = { host, port };
    this.number = settings++;
  }

  // A new connected client; its id is short enough for 3.1.
  client(options = {}) {
    this.#clients += 1;
    const clientId = `${RUN}-${this.number}-${this.#clients}`;
    return Client.connect(this.mqtt, { ...this.address, version: this.version, clientId, ...options });
  }

  topic(name) {
    return `${RUN}/${this.number}/${name}`;
  }
}

const texts = (messages) => messages.map((message) => message.payload.toString());
const topics = (messages) => messages.map((message) => message.topic);

export async function connect(setting) {
  for (let i = 0; i < 3; i += 1) {
    const client = await setting.client();
    assert.equal(client.sessionPresent, false);
    await client.disconnect();
  }
}

export async function wildcards(setting, qos) {
  const client = await setting.client();
  const publisher = await setting.client();
  await client.subscribe(setting.topic('a/+/c'), qos);
  await client.subscribe(setting.topic('d/#'), qos);
  const matching = ['a/b/c', 'a//c', 'd', 'd/e', 'd/e/f'].map((name) => setting.topic(name));
  const others = ['a/b', 'a/b/c/d', 'x', 'b/b/c'].map((name) => setting.topic(name));
  await publisher.publishAll([...others, ...matching].map((topic) => [topic, topic]), { qos });
  const found = await client.takeMany(matching.length);
  assert.deepEqual(topics(found), matching);
  assert.deepEqual(texts(found), matching);
  assert.ok(found.every((message) => message.qos === qos && !message.retain));
  await Promise.all([client.disconnect(), publisher.disconnect()]);
}

export async function retained(setting, qos) {
  const topic = setting.topic('retained');
  const publisher = await setting.client();
  await publisher.subscribe(topic, qos);
  await publisher.publish(topic, 'kept', { qos, retain: true });
  await publisher.next();

  const first = await setting.client();
  await first.subscribe(setting.topic('+'), qos);
  const message = await first.next();
  assert.deepEqual([message.payload.toString(), message.retain, message.qos], ['kept', true, qos]);
  await publisher.publish(topic, '', { qos, retain: true });
  assert.deepEqual(texts([await first.next()]), ['']);

  const second = await setting.client();
  await second.subscribe(setting.topic('+'), qos);
  await publisher.publish(setting.topic('marker'), 'marker', { qos });
  assert.deepEqual(texts([await second.next()]), ['marker']);
  await Promise.all([publisher, first, second].map((client) => client.disconnect()));
}

export async function will(setting, qos) {
  const watcher = await setting.client();
  await watcher.subscribe(setting.topic('will/#'), qos);
  const polite = await setting.client({
    will: { topic: setting.topic('will/polite'), payload: Buffer.from('must not come'), qos, retain: false },
  });
  await polite.disconnect();
  const lost = await setting.client({
    will: { topic: setting.topic('will/lost'), payload: Buffer.from('lost'), qos, retain: false },
  });
  await lost.cut();
  const message = await watcher.next();
  assert.deepEqual([message.topic, message.payload.toString(), message.qos], [setting.topic('will/lost'), 'lost', qos]);
  await watcher.disconnect();
}

export async function session(setting, qos) {
  const topic = setting.topic('queue');
  const clientId = `${RUN}-s${setting.number}`;
  const client = await setting.client({ clientId, keepSession: true });
  await client.subscribe(topic, qos);
  const publisher = await setting.client();
  await publisher.publish(topic, 'before', { qos });
  assert.deepEqual(texts([await client.next()]), ['before']);
  // Once a second publication is answered, the broker has the acknowledgement of that message.
  for (let i = 0; i < 2; i += 1) await client.publish(setting.topic('nobody'), '', { qos: 1 });
  await client.cut();

  const payloads = Array.from({ length: QUEUED }, (_, number) => `${number}`);
  await publisher.publishAll(payloads.map((payload) => [topic, payload]), { qos });
  const again = await setting.client({ clientId, keepSession: true });
  if (setting.version !== '3.1') assert.equal(again.sessionPresent, true);
  assert.deepEqual(texts(await again.takeMany(QUEUED)), payloads);
  await publisher.publish(topic, 'after', { qos });
  assert.deepEqual(texts([await again.next()]), ['after']);
  await Promise.all([again.disconnect(), publisher.disconnect()]);

  const clean = await setting.client({ clientId });
  assert.equal(clean.sessionPresent, false);
  await clean.disconnect();
}

export async function shared(setting, qos) {
  const topic = setting.topic('work');
  const members = [await setting.client(), await setting.client()];
  for (const member of members) await member.subscribe(`$share/${RUN}/${topic}`, qos);
  const publisher = await setting.client();
  const payloads = Array.from({ length: SHARED }, (_, number) => `${number}`);
  await publisher.publishAll(payloads.map((payload) => [topic, payload]), { qos });
  const all = (async () => {
    while (members[0].pending.length + members[1].pending.length < SHARED) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  await within(all, `full share; ${members.map((member) => member.pending.length)} arrived`);
  const numbers = members.flatMap((member) => texts(member.pending).map(Number));
  assert.deepEqual(numbers.sort((a, b) => a - b), payloads.map(Number));
  assert.ok(members.every((member) => member.pending.length > 0), 'one member got everything');
  await Promise.all([...members, publisher].map((client) => client.disconnect()));
}

export async function largePayload(setting, qos, size) {
  const topic = setting.topic('large');
  const payload = randomBytes(size);
  const client = await setting.client();
  await client.subscribe(topic, qos);
  const publisher = await setting.client();
  await publisher.publish(topic, payload, { qos });
  await publisher.publish(topic, 'after', { qos });
  const message = await client.next();
  assert.equal(message.payload.length, size);
  assert.ok(message.payload.equals(payload), 'the payload was changed');
  assert.deepEqual(texts([await client.next()]), ['after']);
  await Promise.all([client.disconnect(), publisher.disconnect()]);
}

export async function manyTopics(setting, qos) {
  const client = await setting.client();
  await client.subscribe(setting.topic('t/#'), qos);
  const publisher = await setting.client();
  const expected = Array.from({ length: TOPICS }, (_, number) => setting.topic(`t/${number}`));
  const publishing = publisher.publishAll(expected.map((topic) => [topic, 'x']), { qos });
  const found = await client.takeMany(TOPICS);
  await publishing;
  assert.deepEqual(topics(found), expected);
  await Promise.all([client.disconnect(), publisher.disconnect()]);
}

export async function properties(setting, qos) {
  const topic = setting.topic('question');
  const sent = {
    userProperties: { a: ['1', '2'], b: 'ü' },
    responseTopic: setting.topic('answer'),
    correlationData: Buffer.from([0, 1, 97, 255]),
    contentType: 'text/plain',
    payloadFormatIndicator: true,
    messageExpiryInterval: 100,
  };
  const client = await setting.client();
  await client.subscribe(topic, qos);
  const publisher = await setting.client();
  await publisher.publish(topic, '?', { qos, properties: sent });
  const { userProperties, messageExpiryInterval, ...found } = (await client.next()).properties;
  assert.ok(messageExpiryInterval >= 90 && messageExpiryInterval <= 100, `expiry ${messageExpiryInterval}`);
  assert.deepEqual({ ...userProperties }, sent.userProperties);
  const { userProperties: _, messageExpiryInterval: __, ...expected } = sent;
  assert.deepEqual(found, expected);
  await Promise.all([client.disconnect(), publisher.disconnect()]);
}

export async function requestResponse(setting, qos) {
  const requester = await setting.client();
  const responder = await setting.client();
  await requester.subscribe(setting.topic('answer'), qos);
  await responder.subscribe(setting.topic('question'), qos);
  const asked = { responseTopic: setting.topic('answer'), correlationData: Buffer.from([7]) };
  await requester.publish(setting.topic('question'), '6*7', { qos, properties: asked });
  const { responseTopic, correlationData } = (await responder.next()).properties;
  await responder.publish(responseTopic, '42', { qos, properties: { correlationData } });
  const answer = await requester.next();
  assert.equal(answer.payload.toString(), '42');
  assert.deepEqual(answer.properties.correlationData, asked.correlationData);
  await Promise.all([requester.disconnect(), responder.disconnect()]);
}

// MQTT.js sets an alias by itself and leaves the topic out from then on.
export async function aliasToServer(setting, qos) {
  const client = await setting.client();
  await client.subscribe(setting.topic('#'), qos);
  const publisher = await setting.client({ autoAssignTopicAlias: true });
  const expected = Array.from({ length: 30 }, (_, number) => setting.topic(`topic/${number % 3}`));
  await publisher.publishAll(expected.map((topic) => [topic, 'x']), { qos });
  assert.deepEqual(topics(await client.takeMany(expected.length)), expected);
  await Promise.all([client.disconnect(), publisher.disconnect()]);
}

// A client that allows aliases is told the right topics.
export async function aliasFromServer(setting, qos) {
  const client = await setting.client({ properties: { topicAliasMaximum: 2 } });
  await client.subscribe(setting.topic('#'), qos);
  const publisher = await setting.client();
  const expected = Array.from({ length: 12 }, (_, number) => setting.topic(`topic/${number % 3}`));
  await publisher.publishAll(expected.map((topic) => [topic, 'x']), { qos });
  assert.deepEqual(topics(await client.takeMany(expected.length)), expected);
  await Promise.all([client.disconnect(), publisher.disconnect()]);
}
