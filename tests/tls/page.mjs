// The tests of the page: MQTT.js as it is for browsers, against the broker that /parameters names.

/* global mqtt */

// Milliseconds that anything which must happen may take.
const DEADLINE = 20_000;

const MIB = 1024 * 1024;

// How many publications await their acknowledgement at once; MQTT.js does not count them itself.
const WINDOW = 10;

const VERSIONS = { '3.1.1': 4, '5.0': 5 };

const { ports, tests } = await (await fetch('/parameters')).json();

for (const name of tests) {
  let error = null;
  try {
    await within(scenario(name), 'end of the test', 1.8 * DEADLINE);
  } catch (caught) {
    error = String(caught?.message ?? caught);
  }
  await fetch('/result', { method: 'POST', body: JSON.stringify({ name, error }) });
}

// What a test does, by its name.
function scenario(name) {
  const [kind, version, ...what] = name.split(' ');
  if (version in VERSIONS) {
    const protocolVersion = VERSIONS[version];
    const words = what.join(' ');
    if (words === '5 MiB') return large(kind, protocolVersion);
    if (words.startsWith('QoS ')) return toItself(kind, protocolVersion, Number(words.slice(4)));
    return fromAnother(kind, protocolVersion);
  }
  if (name.endsWith('after a restart of the broker')) return restart(kind);
  if (name.startsWith('wss with a certificate')) return refused('strange', 'wss');
  if (name === 'an origin that is allowed') return allowed();
  if (name === 'an origin that is not allowed') return refused('refused', 'ws');
  throw new Error('no such test');
}

// Subscribes, publishes and gets its own messages in their order.
async function toItself(kind, protocolVersion, qos) {
  const client = await connected(kind, kind, { protocolVersion });
  const topic = newTopic();
  await subscribe(client, topic, qos);
  const texts = Array.from({ length: 50 }, (_, number) => `${number} ü`);
  const arrival = messages(client, texts.length);
  for (let start = 0; start < texts.length; start += WINDOW) {
    const part = texts.slice(start, start + WINDOW);
    await Promise.all(part.map((text) => client.mqtt.publishAsync(topic, text, { qos })));
  }
  const came = await arrival;
  equal(came.map(({ payload }) => new TextDecoder().decode(payload)).join(), texts.join(), 'payloads');
  equal(came.filter((message) => message.qos !== qos || message.topic !== topic).length, 0, 'other messages');
  await client.mqtt.endAsync();
}

async function large(kind, protocolVersion) {
  const client = await connected(kind, kind, { protocolVersion });
  const topic = newTopic();
  await subscribe(client, topic, 2);
  const payload = new Uint8Array(5 * MIB);
  // No more is random at once.
  for (let start = 0; start < payload.length; start += 65536) crypto.getRandomValues(payload.subarray(start, start + 65536));
  const arrival = messages(client, 1);
  await client.mqtt.publishAsync(topic, payload, { qos: 2 });
  const [message] = await arrival;
  equal(message.payload.length, payload.length, 'length');
  equal(payload.findIndex((byte, place) => message.payload[place] !== byte), -1, 'first byte that differs');
  await client.mqtt.endAsync();
}

// A will of one connection comes to the other when its socket goes without a word; retained messages come too.
async function fromAnother(kind, protocolVersion) {
  const topic = newTopic();
  const will = { topic: `${topic}/will`, payload: 'lost', qos: 1, retain: false };
  const one = await connected(kind, kind, { protocolVersion, will, reconnectPeriod: 0 });
  await one.mqtt.publishAsync(`${topic}/kept`, 'kept', { qos: 1, retain: true });
  const other = await connected(kind, kind, { protocolVersion });
  let arrival = messages(other, 1);
  await subscribe(other, `${topic}/#`, 1);
  const [kept] = await arrival;
  equal([kept.topic, `${kept.payload}`, kept.retain].join(), `${topic}/kept,kept,true`, 'retained message');
  arrival = messages(other, 1);
  one.mqtt.stream.destroy();
  const [lost] = await arrival;
  equal([lost.topic, `${lost.payload}`].join(), `${topic}/will,lost`, 'will');
  await other.mqtt.publishAsync(`${topic}/kept`, '', { qos: 1, retain: true });
  await other.mqtt.endAsync();
}

// The library comes back by itself, subscribes again, and what is published meanwhile leaves then.
async function restart(kind) {
  const client = await connected(kind, kind, { protocolVersion: 5, reconnectPeriod: 200 });
  const topic = newTopic();
  await subscribe(client, topic, 1);
  const closed = happened(client, 'close');
  const again = happened(client, 'connect');
  await fetch('/restart', { method: 'POST', body: '{}' });
  await within(closed, 'end of the connection');
  const arrival = messages(client, 1);
  await within(again, 'second connection');
  await client.mqtt.publishAsync(topic, 'after', { qos: 1 });
  const [message] = await arrival;
  equal(`${message.payload}`, 'after', 'payload');
  await client.mqtt.endAsync();
}

async function allowed() {
  const client = await connected('allowed', 'ws', { protocolVersion: 5 });
  await client.mqtt.endAsync();
}

// The browser gets no connection: a page of this origin, or to a server that nobody vouches for.
async function refused(listener, scheme) {
  let client;
  try {
    client = await connected(listener, scheme, { protocolVersion: 5, reconnectPeriod: 0 });
  } catch (error) {
    if (/closed before CONNACK/.test(error.message)) return;
    throw error;
  }
  await client.mqtt.endAsync();
  throw new Error('the connection was made');
}

// A client that CONNACK has accepted.
async function connected(listener, scheme, options) {
  const client = { mqtt: mqtt.connect(`${scheme}://localhost:${ports[listener]}/mqtt`, { reconnectPeriod: 0, ...options }), came: [], waiting: null };
  client.mqtt.on('error', () => {});
  client.mqtt.on('message', (topic, payload, { qos, retain }) => {
    client.came.push({ topic, payload, qos, retain });
    client.waiting?.();
  });
  await within(
    new Promise((resolve, reject) => {
      client.mqtt.once('connect', resolve);
      client.mqtt.once('close', () => reject(new Error('closed before CONNACK')));
    }),
    'CONNACK',
  );
  return client;
}

async function subscribe(client, filter, qos) {
  const [granted] = await within(client.mqtt.subscribeAsync(filter, { qos }), 'SUBACK');
  equal(granted.qos, qos, 'granted QoS');
}

// The next messages, as many as that.
function messages(client, count) {
  const all = new Promise((resolve) => {
    client.waiting = () => {
      if (client.came.length >= count) resolve(client.came.splice(0, count));
    };
    client.waiting();
  });
  return within(all, `${count} messages`);
}

function happened(client, event) {
  return new Promise((resolve) => {
    client.mqtt.once(event, resolve);
  });
}

function newTopic() {
  return `browser/${crypto.randomUUID()}`;
}

function equal(found, expected, what) {
  if (found !== expected) throw new Error(`${what}: ${String(found).slice(0, 100)} instead of ${String(expected).slice(0, 100)}`);
}

function within(promise, what, deadline = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${deadline} ms`)), deadline);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
