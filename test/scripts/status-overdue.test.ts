/** What `status` prints when something is overdue, or an agent is not what it should be. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { PHOTOS, controlTarget, library, report, startControl } from '../support/control.js'
import type { ControlTarget } from '../../src/backup/control/control-api.js'

const COMMAND = fileURLToPath(new URL('../../scripts/seaf-backup-cmd.js', import.meta.url))

async function runAgainst(target: ControlTarget, ...args: string[]): Promise<{ code: number | null; out: string }> {
  await using host = await startControl(target)
  const child = spawn(process.execPath, [COMMAND, '--state', host.stateDir, ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const chunks = child.stdout.toArray()
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out: Buffer.concat((await chunks) as Buffer[]).toString() }
}

t.test(
  'status: something is overdue, the first line says all of it with what to do, and the exit code is 3',
  async t => {
    const overdue = [
      { what: 'primary', forMs: 7_300_000, message: 'nothing has been heard', nextStep: 'check the agent' },
      { what: 'of a later version', forMs: 7_300_000, message: 'odd\n\u001b[31m', nextStep: 'check the agent' },
    ]
    const target = controlTarget(report([library(PHOTOS)], {}, overdue))
    const { code, out } = await runAgainst(target, 'status')
    t.equal(code, 3)
    t.equal(
      out,
      `Overdue: nothing has been heard; odd??[31m. Next step: check the agent
Total number of libraries: 1
Number of synchronized libraries: 1
Number of libraries waiting for sync: 0
Number of libraries syncing: 0
Number of libraries failed to sync: 0
`,
    )
    const json = await runAgainst(target, 'status', '--json')
    t.equal(json.code, 3)
    t.match(JSON.parse(json.out), { overdue })
  },
)

t.test('status: an agent whose source is slow or deaf, or none at all, has a line with --verbose alone', async t => {
  const agent = {
    address: '10.0.0.7',
    source: 'mysql-binlog',
    positionAgoMs: 2_000,
    degraded: null,
    connectedForMs: 3_600_000,
  }
  const agents = [
    agent,
    { ...agent, positionAgoMs: 61_000 },
    { ...agent, source: 'mysql-poll', degraded: 'the account lacks\ta grant' },
    { ...agent, source: null, positionAgoMs: null },
  ]
  const target = controlTarget(report([library(PHOTOS)], { agents, agentsConnected: 4 }))
  const plain = await runAgainst(target, 'status')
  t.equal(plain.code, 0)
  t.notMatch(plain.out, /Agent/)
  const { code, out } = await runAgainst(target, 'status', '--verbose')
  t.equal(code, 0)
  t.strictSame(
    out.split('\n').filter(line => line.startsWith('Agent')),
    [
      'Agent 10.0.0.7: mysql-binlog, position 1 min 1 s old, connected for 1 h 0 min',
      'Agent 10.0.0.7: mysql-poll, position 2.0 s old, connected for 1 h 0 min, degraded: the account lacks?a grant',
      'Agent 10.0.0.7: source unknown, no position yet, connected for 1 h 0 min',
    ],
  )

  const none = controlTarget(report([library(PHOTOS)], { agentsConnected: 0, lastContactAgoMs: 130_000 }))
  t.match((await runAgainst(none, 'status', '-v')).out, '\nNo agent is connected, last contact 2 min 10 s ago\n')
})
