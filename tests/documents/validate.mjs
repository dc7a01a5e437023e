// Validates what `python -m tests.documents.material FOLDER` left: both documents with the official tools, and what a
// session with a running relay said against the schemas in them. Usage: node validate.mjs FOLDER
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Parser } from '@asyncapi/parser';
import { validate as validateOpenApi } from '@readme/openapi-parser';
import Ajv from 'ajv';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const folder = process.argv[2];
if (!folder) {
  console.error('usage: node validate.mjs FOLDER');
  process.exit(2);
}
const read = (name) => readFileSync(join(folder, `${name}.json`), 'utf8');
const faults = [];
const fault = (text) => faults.push(text);

async function checkAsyncApi(name) {
  const { document, diagnostics } = await new Parser().parse(read(name));
  // 0 is an error, 1 a warning; below are hints, such as that there is a newer version of AsyncAPI.
  for (const one of diagnostics.filter(({ severity }) => severity <= 1)) {
    fault(`${name}: ${one.path.join('.')}: ${one.message} (${one.code})`);
  }
  return document === undefined ? [] : document.allOperations().all();
}

async function checkOpenApi(name) {
  const found = await validateOpenApi(JSON.parse(read(name)));
  for (const one of [...(found.errors ?? []), ...(found.warnings ?? [])]) fault(`${name}: ${one.message}`);
}

// A schema of a document, compiled with all that it refers to.
function schemas(ajv, document, name) {
  addFormats(ajv);
  ajv.addFormat('binary', true);
  ajv.addVocabulary(['discriminator', 'example', 'xml', 'externalDocs', 'components', 'paths']);
  ajv.addSchema({ $id: name, components: document.components, paths: document.paths }, name);
  return (pointer) => ajv.compile({ $ref: `${name}#${pointer}` });
}

const escaped = (part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));
const explained = (check) => check.errors.map(({ instancePath, message }) => `${instancePath} ${message}`).join('; ');

function checkFrames() {
  const document = JSON.parse(read('asyncapi'));
  const compile = schemas(new Ajv({ strict: 'log', allErrors: true }), document, 'asyncapi');
  const checks = new Map();
  const seen = new Set();
  for (const { side, is_binary: isBinary, frame } of JSON.parse(read('frames'))) {
    const name = `${side}_${frame.type}${isBinary ? '_binary' : ''}`;
    const message = document.components.messages[name];
    if (message === undefined) {
      fault(`frames: no message ${name}`);
      continue;
    }
    const reference = isBinary ? message['x-payload'].$ref : message.payload.$ref;
    if (!checks.has(name)) checks.set(name, compile(reference.slice(1)));
    const check = checks.get(name);
    const isBadOnPurpose = side === 'client' && typeof frame.payload.message_id === 'number';
    if (check(isBinary ? frame.payload : frame) === isBadOnPurpose) {
      fault(`frames: ${name} ${isBadOnPurpose ? 'must not be valid' : explained(check)}`);
    }
    seen.add(name);
  }
  for (const name of Object.keys(document.components.messages)) {
    if (!seen.has(name)) fault(`frames: the session has no ${name}`);
  }
  return seen.size;
}

function checkCalls() {
  const document = JSON.parse(read('openapi'));
  const compile = schemas(new Ajv2020({ strict: 'log', allErrors: true }), document, 'openapi');
  const checks = new Map();
  const at = (pointer) => {
    if (!checks.has(pointer)) checks.set(pointer, compile(pointer));
    return checks.get(pointer);
  };
  let count = 0;
  for (const { method, path, asked, status, kind, answer } of JSON.parse(read('calls'))) {
    const operation = document.paths[path]?.[method.toLowerCase()];
    const key = operation?.responses[status] ? `${status}` : 'default';
    const response = operation?.responses[key];
    const where = `/paths/${escaped(path)}/${method.toLowerCase()}`;
    if (response === undefined || (kind && response.content?.[kind] === undefined)) {
      fault(`calls: ${method} ${path} answered ${status} ${kind}, which is not in the document`);
      continue;
    }
    if (kind === 'application/json') {
      const check = at(`${where}/responses/${key}/content/application~1json/schema`);
      if (!check(answer)) fault(`calls: ${method} ${path} ${status}: ${explained(check)}`);
    }
    if (asked !== null && status < 300) {
      const check = at(`${where}/requestBody/content/application~1json/schema`);
      if (!check(asked)) fault(`calls: the body of ${method} ${path}: ${explained(check)}`);
    }
    count += 1;
  }
  return count;
}

const operations = await checkAsyncApi('asyncapi');
await checkAsyncApi('space_asyncapi');
await checkOpenApi('openapi');
await checkOpenApi('space_openapi');
// A document that is not valid cannot be held against anything.
const kinds = faults.length > 0 ? 0 : checkFrames();
const calls = faults.length > 0 ? 0 : checkCalls();
for (const text of faults) console.error(text);
if (faults.length > 0) process.exit(1);
console.log(`documents: valid; ${operations.length} operations, ${kinds} kinds of frames and ${calls} calls agree with them`);
