/**
 * House rules that a machine can keep; each failure names the file and the rule.
 *
 * Layout: primary → shared ← backup, never across; the ground of shared stands
 * on nothing of ours; each npm package has its owners.
 */

import t from 'tap'
import { errorCodes } from '../src/shared/errors.js'
import { Source, textFiles, textOf } from './support/source-tree.js'
import type { Import } from './support/source-tree.js'

const FILE_LINES_MAX = 400
const FUNCTION_LINES_MAX = 70

/** Files directly in src/shared: imported by all, import only each other (and types). */
const GROUND = /^src\/shared\/[^/]+\.ts$/
const WIRE = /^src\/shared\/wire\//

/** Who may import what of ours; the first room that a file is in counts. */
const ROOMS: ReadonlyArray<{ room: RegExp; may: readonly RegExp[] }> = [
  { room: GROUND, may: [GROUND] },
  { room: /^src\/shared\//, may: [/^src\/shared\//] },
  { room: /^src\/primary\//, may: [/^src\/primary\//, /^src\/shared\//] },
  { room: /^src\/backup\//, may: [/^src\/backup\//, /^src\/shared\//] },
  // works with no daemon: loaded only when it is asked for
  { room: /^scripts\/cmd\/verify\.ts$/, may: [/^scripts\/cmd\//, /^src\/backup\/verify\//, /^src\/shared\//] },
  { room: /^scripts\/cmd\/dumps\.ts$/, may: [/^scripts\/cmd\//, /^src\/backup\/dumps\//, /^src\/shared\//] },
  { room: /^scripts\/cmd\/promote\.ts$/, may: [/^scripts\/cmd\//, /^src\/backup\/promote\//, /^src\/shared\//] },
  { room: /^scripts\/cmd\/drill\.ts$/, may: [/^scripts\/cmd\//, /^src\/backup\/drill\//, /^src\/shared\//] },
  { room: /^scripts\/cmd\/files\.ts$/, may: [/^scripts\/cmd\//, /^src\/backup\/files\//, /^src\/shared\//] },
  {
    room: /^scripts\/cmd\/restore\.ts$/,
    may: [/^scripts\/cmd\//, /^src\/backup\/(restore|verify)\//, /^src\/shared\//],
  },
  { room: /^scripts\/(seaf-backup-cmd\.ts|cmd\/)/, may: [/^scripts\/cmd\//, GROUND, WIRE] },
  { room: /^scripts\//, may: [/^scripts\//, /^src\/shared\//] },
]

/** The files that know a package: to replace it, these are what is to be rewritten. */
const OWNERS: Readonly<Record<string, RegExp>> = {
  ws: /^src\/(primary\/notifier|backup\/hints\/subscriber)\.ts$/,
  '@vlasky/zongji': /^src\/primary\/changes\/mysql-binlog\.ts$/,
  undici: /^(src\/backup\/sync\/(primary-client|answer)|test\/backup\/sync\/answer.test)\.ts$/,
  'better-sqlite3':
    /^src\/(shared\/catalog\/[^/]*sqlite[^/]*|shared\/state-lock|backup\/state\/[^/]+|(primary\/dump|backup\/(dumps|promote|restore))\/sqlite[^/]*)\.ts$/,
  mysql2:
    /^src\/(shared\/catalog\/[^/]*mysql[^/]*|primary\/mysql-connection|primary\/changes\/binlog-access|primary\/dump\/mysql-counts|primary\/binlog\/(read-binlog|dump-command)|backup\/replica-watch)\.ts$/,
  'fast-diff': /^src\/backup\/files\/diff\.ts$/,
  croner: /^src\/shared\/slots\.ts$/,
  pino: /^src\/shared\/log\.ts$/,
  commander: /^scripts\/seaf-backup-cmd\.ts$/,
  'cli-progress': /^scripts\/cmd\/progress\.ts$/,
}

const files = textFiles()
const sources = files.filter(file => /\.ts$/.test(file)).map(file => new Source(file))
const production = sources.filter(({ file }) => /^(src|scripts)\//.test(file))

t.test('tidy: imports point inwards: primary → shared ← backup, the command to ground and wire alone', async t => {
  t.ok(production.length > 20, 'there is something to look at')
  for (const source of production) {
    const room = ROOMS.find(({ room }) => room.test(source.file))
    const outside = source
      .imports()
      .filter(({ ours, typeOnly }) => ours && !(typeOnly && GROUND.test(source.file)))
      .filter(({ target }) => !room?.may.some(pattern => pattern.test(target)))
    t.strictSame(
      outside.map(({ target }) => target),
      [],
      `${source.file} imports from its own room and inwards`,
    )
  }
})

t.test('tidy: an npm package is imported only by the files that own it', async t => {
  for (const { file, packages } of production.map(s => ({ file: s.file, packages: s.imports().map(packageOf) }))) {
    const strange = packages.filter(name => name !== undefined && !OWNERS[name]?.test(file))
    t.strictSame(strange, [], `${file} owns the packages that it imports`)
  }
})

t.test('tidy: a dependency that nobody imports is none', async t => {
  const { dependencies } = JSON.parse(textOf('package.json')) as { dependencies: Record<string, string> }
  const imported = new Set(production.flatMap(source => source.imports().map(packageOf)))
  const runtime = 'node' // is run, not imported
  t.strictSame(
    Object.keys(dependencies).filter(name => name !== runtime && !imported.has(name)),
    [],
  )
})

t.test('tidy: no module imports itself by a detour', async t => {
  const graph = new Map(
    sources.map(s => [
      s.file,
      s
        .imports()
        .filter(i => i.ours && !i.typeOnly)
        .map(i => i.target),
    ]),
  )
  t.strictSame(cycles(graph), [])
})

t.test('tidy: no module only hands on what others have', async t => {
  for (const source of sources) {
    t.notOk(source.isBarrel && source.imports().length > 0, `${source.file} exports what is its own`)
    t.notMatch(source.file, /(^|\/)index\.ts$/)
  }
})

t.test('tidy: files and functions fit their purpose', async t => {
  for (const source of sources) t.ok(source.lines <= FILE_LINES_MAX, `${source.file} has ${source.lines} lines`)
  for (const source of production) {
    const long = source.functions().filter(({ lines }) => lines > FUNCTION_LINES_MAX)
    t.strictSame(long, [], `${source.file} has no function beyond ${FUNCTION_LINES_MAX} lines`)
  }
})

t.test('tidy: nothing is left to be done later, and daemons do not write to the console', async t => {
  const later = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`)
  for (const file of files) t.notMatch(textOf(file), later, file)
  for (const source of production.filter(({ file }) => file.startsWith('src/'))) {
    t.strictSame(source.uses('console'), [], `${source.file} does not use console`)
  }
})

t.test('tidy: no file knows the machine it was written on, or a registry', async t => {
  const machine = new RegExp(`(^|[\\s'"\`(=:])/(work|root|home/[a-z]+)(/|\\b)(?!\\s*=)`, 'm')
  const registry = new RegExp(
    ['registry\\.[a-z]+js', 'registry\\.yarn', 'artifac' + 'tory', 'verdac' + 'cio'].join('|'),
  )
  for (const file of files) {
    const text = textOf(file)
    t.notMatch(text, machine, `${file} has no path of one machine`)
    t.notMatch(text, registry, `${file} names no registry`)
  }
})

t.test('tidy: the runbook has a section for every error code, and for nothing else', async t => {
  const sections = [...textOf('docs/OPERATIONS.md').matchAll(/^### ([A-Z][A-Z_]+)$/gm)].map(match => match[1])
  t.strictSame(sections.toSorted(), errorCodes().toSorted())
})

/** "better-sqlite3" of "better-sqlite3/lib/x"; undefined for Node's own and for ours. */
function packageOf({ target, ours }: Import): string | undefined {
  if (ours || target.startsWith('node:')) return undefined
  return target
    .split('/')
    .slice(0, target.startsWith('@') ? 2 : 1)
    .join('/')
}

/** Each cycle once, as "a → b → a". */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = []
  const finished = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file)
    if (at >= 0) found.push([...path.slice(at), file].join(' → '))
    if (at >= 0 || finished.has(file)) return
    for (const target of graph.get(file) ?? []) visit(target, [...path, file])
    finished.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return found
}
