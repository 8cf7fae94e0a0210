import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url))

/** Tells which Node runs it and with what, then does as its first argument says. */
const PROGRAM = `
if (process.argv[2] === 'exit') process.exitCode = Number(process.argv[3])
if (process.argv[2] === 'wait') {
  setInterval(() => {}, 1000)
  process.on('SIGTERM', () => process.exit(7))
}
console.log(JSON.stringify({ node: process.execPath, args: process.argv.slice(2) }))
`

/** A Node on the PATH that is too old for us, as on Debian 12 and 13. */
const OLD_NODE = (process.env['PATH'] ?? '')
  .split(delimiter)
  .concat('/usr/bin', '/usr/local/bin')
  .map(dir => join(dir, 'node'))
  .find(node => {
    const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' })
    const major = Number(/^v(\d+)\./.exec(stdout ?? '')?.[1])
    return major >= 12 && major < 22
  })
const needsOldNode = { skip: OLD_NODE === undefined && 'no Node older than 22 is installed' }

/** A package as npm would install it, with a program of our own in place of the command. */
function installPackage(t: Test, { pinned }: { pinned: boolean }): string {
  const above = mkdtempSync(join(tmpdir(), 'seaf-backup-bin-'))
  t.teardown(() => rmSync(above, { recursive: true, force: true }))
  const root = join(above, 'lib', 'seaf-backup')
  cpSync(join(PROJECT, 'bin'), join(root, 'bin'), { recursive: true })
  mkdirSync(join(root, 'dist', 'scripts'), { recursive: true })
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(root, 'dist', 'scripts', 'seaf-backup-cmd.js'), PROGRAM)
  if (pinned) {
    const runtime = join(above, 'node_modules', 'node', 'bin', 'node')
    mkdirSync(dirname(runtime), { recursive: true })
    symlinkSync(process.execPath, runtime)
  }
  return join(root, 'bin', 'seaf-backup-cmd.cjs')
}

const start = (node: string, args: readonly string[]) =>
  spawn(node, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: '/nonexistent' } })

async function run(node: string, ...args: string[]) {
  const child = start(node, args)
  const closed = once(child, 'close')
  const [out, err] = await Promise.all([child.stdout.toArray(), child.stderr.toArray()])
  const [code] = (await closed) as [number | null]
  return { code, out: Buffer.concat(out as Buffer[]).toString(), err: Buffer.concat(err as Buffer[]).toString() }
}

t.test('bin: too old a Node and no runtime beside it, one line says what is needed', needsOldNode, async t => {
  const { code, out, err } = await run(OLD_NODE ?? '', installPackage(t, { pinned: false }), 'exit', '0')
  t.equal(code, 2)
  t.equal(out, '')
  t.match(err, /^seaf-backup-cmd: needs Node 22\.18 or newer, .*\n$/)
  t.equal(err.split('\n').length, 2)
})

t.test('bin: too old a Node hands over to the runtime that is installed above the package', needsOldNode, async t => {
  const { code, out, err } = await run(OLD_NODE ?? '', installPackage(t, { pinned: true }), 'exit', '3', '--x=a b')
  t.equal(err, '')
  t.equal(code, 3)
  t.strictSame(JSON.parse(out), { node: process.execPath, args: ['exit', '3', '--x=a b'] })
})

t.test('bin: a signal reaches the program under the other runtime, and its end is mirrored', needsOldNode, async t => {
  const launcher = installPackage(t, { pinned: true })
  const end = async (signal: NodeJS.Signals) => {
    const child = start(OLD_NODE ?? '', [launcher, 'wait'])
    const exited = once(child, 'exit')
    await once(child.stdout, 'data')
    child.kill(signal)
    return await exited
  }
  t.strictSame(await end('SIGTERM'), [7, null], 'the program decides')
  t.strictSame(await end('SIGINT'), [null, 'SIGINT'], 'the program was ended by it')
})

t.test('bin: a Node that is new enough runs the program itself', async t => {
  const { code, out } = await run(process.execPath, installPackage(t, { pinned: false }), 'exit', '0')
  t.equal(code, 0)
  t.match(JSON.parse(out), { node: process.execPath, args: ['exit', '0'] })
})

t.test('bin: not built, it says what to run', async t => {
  const launcher = installPackage(t, { pinned: false })
  const { code, err } = await run(process.execPath, launcher.replace('-cmd', '-server'))
  t.equal(code, 2)
  t.match(err, /^seaf-backup-server: .*main\.js is missing: run npm run build .*\n$/)
})
