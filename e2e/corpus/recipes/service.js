'use strict';
// The program of the image node. README.md of the corpus says what it answers.
const crypto = require('crypto');
const http = require('http');
// A program of any use has loaded about as much by the time that it is ready.
for (const name of ['assert', 'child_process', 'dns', 'events', 'fs', 'https', 'os', 'path', 'perf_hooks', 'querystring',
  'readline', 'stream', 'string_decoder', 'tls', 'url', 'util', 'worker_threads', 'zlib']) {
  require(name);
}

let count = 0;

const answers = {
  '/': () => 'hello from node',
  '/count': () => ++count,
  '/time': () => `{"monotonic_ns": ${process.hrtime.bigint()}, "wall_ms": ${Date.now()}}`,
  '/random': () => crypto.randomBytes(16).toString('hex'),
  '/pseudo': () => Math.random(),
};

const server = http.createServer((request, response) => {
  const answer = Object.hasOwn(answers, request.url) && answers[request.url];
  response.statusCode = answer ? 200 : 404;
  response.setHeader('Content-Type', 'text/plain');
  response.end(`${answer ? answer() : 'not found'}\n`);
});

server.listen(8080, () => console.log('ready'));
process.on('SIGTERM', () => process.exit(0)); // as process 1 it would not be ended by default
