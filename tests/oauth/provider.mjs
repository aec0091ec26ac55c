// An OpenID provider on a free port of 127.0.0.1, whose keys can be changed while it runs.
//
// provider.mjs <folder of node_modules>
//
// It writes one line of JSON with its issuer, then answers each line on its standard input with one line of
// JSON: `rotate` gives it new keys, `counts` tells how often each path was asked for.
//
// Tokens come from client credentials. The resource that is asked for decides about the token:
// urn:midge:<algorithm>[:<seconds of life>], or urn:midge:opaque.

import { generateKeyPair, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const folder = createRequire(`${resolve(process.argv[2])}/`);
const { default: Provider } = await import(pathToFileURL(folder.resolve('oidc-provider')));

// The answers alone are on standard output; the library has things to say as well.
console.log = console.info = console.warn = console.error;
const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

// What every broker of the tests is called as an audience.
const AUDIENCE = 'urn:midge:broker';

const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'ES512', 'Ed25519'];

// The seconds that a token lives unless its resource says otherwise.
const LIFETIME = 600;

const KINDS = [
  ['rsa', 'rsa', { modulusLength: 2048 }],
  ['p256', 'ec', { namedCurve: 'P-256' }],
  ['p384', 'ec', { namedCurve: 'P-384' }],
  ['p521', 'ec', { namedCurve: 'P-521' }],
  ['ed25519', 'ed25519', {}],
];

// One key for each kind of algorithm; the generation is part of their names. Node 20 can lock itself up when
// a key that was made by the synchronous call is exported, so this one is not used.
async function keys(generation) {
  const made = [];
  for (const [name, kind, options] of KINDS) {
    const { privateKey } = await promisify(generateKeyPair)(kind, options);
    const jwk = privateKey.export({ format: 'jwk' });
    made.push({ ...jwk, kid: `${name}-${generation}`, use: 'sig' });
  }
  return made;
}

// What a resource is, by its name.
function resourceServer(resource) {
  const [, , algorithm, seconds] = resource.split(':');
  const common = {
    scope: [
      'mqtt.publish:garden/%c/# mqtt.subscribe:garden/#',
      'mqtt.publish:bench/# mqtt.subscribe:bench/#',
      'mqtt.publish:$CONTROL/# mqtt.subscribe:$CONTROL/#',
    ].join(' '),
    audience: AUDIENCE,
    accessTokenTTL: Number(seconds ?? LIFETIME),
  };
  if (algorithm === 'opaque') return { ...common, accessTokenFormat: 'opaque' };
  return { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg: algorithm } } };
}

async function provider(issuer, generation) {
  const oidc = new Provider(issuer, {
    jwks: { keys: await keys(generation) },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    clients: [
      {
        client_id: 'device:7',
        client_secret: 'a secret & more',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
      {
        client_id: 'broker',
        client_secret: 'the broker',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    enabledJWA: { idTokenSigningAlgValues: ALGORITHMS },
    scopes: [],
    async extraTokenClaims() {
      return { realm: { roles: ['sensors', 'garden'] }, mqtt: { sub: ['alerts/+'] } };
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: {
        enabled: true,
        // The broker may ask about everybody's tokens.
        allowedPolicy: async (_ctx, client) => client.clientId === 'broker',
      },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: async (_ctx, resource) => resourceServer(resource),
      },
    },
  });
  oidc.on('server_error', (_ctx, error) => console.error(error));
  return oidc.callback();
}

const counts = {};
let generation = 1;
let handler;
const server = createServer((request, response) => {
  const path = new URL(request.url, 'http://localhost').pathname;
  counts[path] = (counts[path] ?? 0) + 1;
  handler(request, response);
});
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  handler = await provider(issuer, generation);
  answer({ issuer, audience: AUDIENCE });
  const lines = createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    if (line === 'rotate') {
      generation += 1;
      handler = await provider(issuer, generation);
    }
    answer({ generation, counts });
  });
  // Whoever started it is gone.
  lines.on('close', () => process.exit(0));
});
