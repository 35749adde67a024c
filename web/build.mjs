// Bundles src/ into dist/: app.js, app.css, icon.svg, licences.txt and the page itself, which names the
// others with a hash of their content.  "node build.mjs --out DIR" writes elsewhere.
//
// sources.sha256 lets the tests see without node whether dist/ is older than the sources.
//
// Nothing of the machine or the time gets into the files, so that the same sources give the same bytes.
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const top = dirname(fileURLToPath(import.meta.url));
const flag = process.argv.indexOf('--out');
const out = flag > 0 ? process.argv[flag + 1] : join(top, 'dist');
const src = join(top, 'src');
const notice = '/* Libraries within and their licences: licences.txt */';

mkdirSync(out, { recursive: true });
const result = await build({
  absWorkingDir: top,
  entryPoints: { app: 'src/main.js' },
  outdir: out,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['es2022'],
  charset: 'utf8',
  legalComments: 'none',
  banner: { js: notice, css: notice },
  metafile: true,
  logLevel: 'warning',
});

// Every package that has a byte in the bundle.
const packages = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = input.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (found) packages.add(found[1]);
}
const licences = [...packages].sort().map((name) => {
  const dir = join(top, 'node_modules', name);
  const { version, license } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
  const texts = readdirSync(dir).filter((file) => /^(licen[cs]e|notice)/i.test(file)).sort();
  if (texts.length === 0) throw new Error(`${name} has no licence`);
  return `${name} ${version}: ${license}\n\n${texts.map((file) => readFileSync(join(dir, file), 'utf8').trim()).join('\n\n')}\n`;
});
writeFileSync(join(out, 'licences.txt'),
  `The page of promgres contains these libraries.\n\n${licences.join(`\n${'='.repeat(80)}\n\n`)}`);

const sha256 = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');
const sources = ['build.mjs', 'package.json', 'package-lock.json', ...readdirSync(src).map((file) => `src/${file}`)].sort();
writeFileSync(join(out, 'sources.sha256'), sources.map((file) => `${sha256(join(top, file))}  ${file}\n`).join(''));

cpSync(join(src, 'icon.svg'), join(out, 'icon.svg'));
const page = readFileSync(join(src, 'index.html'), 'utf8').replace(/assets\/([\w.]+)/g, (path, name) => {
  return `${path}?v=${sha256(join(out, name)).slice(0, 16)}`;
});
writeFileSync(join(out, 'index.html'), page);
