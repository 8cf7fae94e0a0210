/** The verb `promote`: needs no daemon, and none may run. Loaded only when it is asked for. */

import { LOSSES, open } from '../../src/backup/promote/checklist.js'
import { checkOnly, promote as makeServer, promotionHere } from '../../src/backup/promote/promote.js'
import { BackupError } from '../../src/shared/errors.js'
import { EXIT, Interrupted } from './exit.js'
import { ask } from './prompt.js'
import { plain } from './render.js'
import type { PromoteEvents } from '../../src/backup/promote/promote.js'
import type { Check, Checklist } from '../../src/backup/promote/checklist.js'
import type { DirectoryFlags } from '../../src/shared/directories.js'
import type { ExitCode } from './exit.js'

export interface PromoteOptions {
  readonly check: boolean
  readonly acceptLoss?: string
  readonly withoutTables: boolean
  readonly withDeleted: boolean
  readonly keepTokens: boolean
  readonly confirm?: string
  readonly json: boolean
}

/** What must be typed: this cannot be undone. */
const WORD = 'PROMOTE'

const say = (text: string): void => void process.stdout.write(`${text}\n`)

export async function promote(flags: DirectoryFlags, options: PromoteOptions, signal: AbortSignal): Promise<ExitCode> {
  const { check, withoutTables, withDeleted, keepTokens, json } = options
  const request = { accepted: acceptedOf(options.acceptLoss ?? ''), withoutTables, withDeleted, keepTokens }
  if (check) {
    const { checklist, promoted } = await checkOnly(flags, request, signal)
    const stopped = open(checklist, request.accepted)
    if (json)
      say(
        JSON.stringify({ checks: checklist.checks, ready: stopped.length === 0, promoted: promoted ?? null }, null, 2),
      )
    else {
      if (promoted)
        say(`It was promoted on ${new Date(promoted.at).toISOString()}, and is at the step "${promoted.step}".`)
      show(checklist)
      say(stopped.length === 0 ? 'Ready to be promoted.' : 'Not ready: see the lines that begin with LOSS or STOP.')
    }
    return stopped.length === 0 ? EXIT.ok : EXIT.failed
  }
  await expectConfirmed(options.confirm)
  const promotion = await makeServer(flags, request, json ? JSON_EVENTS : TEXT_EVENTS, signal).catch(
    (error: unknown) => {
      throw signal.aborted ? interrupted(flags) : error
    },
  )
  if (json) say(JSON.stringify({ type: 'end', ...promotion }))
  else for (const line of REMAINS) say(line)
  return EXIT.ok
}

const JSON_EVENTS: PromoteEvents = {
  checked: ({ checks }) => say(JSON.stringify({ type: 'checklist', checks })),
  step: (step, message) => say(JSON.stringify({ type: 'step', step, message })),
}

const TEXT_EVENTS: PromoteEvents = {
  checked: show,
  step: (step, message) => say(`${step}: ${plain(message)}`),
}

function interrupted(flags: DirectoryFlags): Interrupted {
  const promotion = promotionHere(flags)
  if (!promotion) return new Interrupted('nothing was fenced, and nothing was changed')
  const { epoch, step } = promotion
  return new Interrupted(
    `this backup is fenced (epoch ${epoch}, at the step "${step}") and syncs nothing any more, also after a restart: run the same command again, it goes on from there`,
  )
}

function acceptedOf(text: string): string[] {
  const words = text.split(/[\s,]+/).filter(word => word !== '')
  const strange = words.find(word => !LOSSES.some(loss => loss === word))
  if (strange === undefined) return words
  const message = `read --accept-loss: ${JSON.stringify(strange.slice(0, 40))} is none of ${LOSSES.join(', ')}`
  throw new BackupError('BAD_REQUEST', message, { nextStep: 'see what is lost: seaf-backup-cmd promote --check' })
}

function show({ checks }: Checklist): void {
  for (const check of checks) say(`${word(check)}  ${check.what}: ${plain(check.message)}`)
}

const word = ({ verdict, loss }: Check): string =>
  verdict === 'good' ? 'good' : verdict === 'stop' ? 'STOP' : `LOSS (${loss})`

async function expectConfirmed(given: string | undefined): Promise<void> {
  const text = `This host becomes the server and never backs up again. Type ${WORD} to go on: `
  const answer = given ?? (process.stdin.isTTY ? await ask({ text, secret: false, what: 'your word' }) : '')
  if (answer.trim() === WORD) return
  const message = `promote: it was not confirmed; this host would become the server and never back up again`
  throw new BackupError('BAD_REQUEST', message, { nextStep: `type ${WORD} when asked, or give --confirm ${WORD}` })
}

const REMAINS = [
  '',
  'This host has the data of the server now. What remains to be done by hand (docs/RESTORE.md, "The primary is gone"):',
  '  1. make sure that the old primary does not serve: its Seafile must not be started again',
  "  2. put Seafile's configuration here (conf/: seafile.conf with [database], ccnet.conf, seahub_settings.py)",
  '  3. give seafile-data (with SQLite also ccnet and seahub.db) to the user that Seafile runs as',
  '  4. start Seafile: seafile.sh start, seahub.sh start',
  '  5. point the name of the server, or the proxy before it, to this host',
  '  6. start seaf-backup-server again: it backs up nothing, and tells an old primary that comes back',
  '  7. set up a new backup of this host',
]
