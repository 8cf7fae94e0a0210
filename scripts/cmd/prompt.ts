/** What a person is asked for: on the terminal, or the first line of standard input. */

import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { BackupError } from '../../src/shared/errors.js'

export interface Question {
  readonly text: string
  /** Not shown while it is typed. */
  readonly secret: boolean
  /** What is asked for, for the error: "the password". */
  readonly what: string
}

/** @throws BackupError BAD_REQUEST when nothing is answered: the input ended, or ^C */
export async function ask({ text, secret, what }: Question): Promise<string> {
  const isTerminal = process.stdin.isTTY
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  if (isTerminal) process.stderr.write(text)
  const lines = createInterface({
    input: process.stdin,
    output: secret || !isTerminal ? nowhere : process.stderr,
    terminal: isTerminal,
  })
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve)
      lines.once('SIGINT', () => lines.close())
      lines.once('close', () => {
        const nextStep = 'type it when asked, or give it as the first line of standard input'
        reject(new BackupError('BAD_REQUEST', `read ${what}: none was given`, { nextStep }))
      })
    })
  } finally {
    lines.close()
    if (isTerminal && secret) process.stderr.write('\n')
  }
}
