/** What tests of a promotion look at and lay out, on SQLite. */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { Pair } from './pair.js'

export const CONFIRM = ['--confirm', 'PROMOTE']

export const stateDir = (pair: Pair): string => join(pair.backup.dir, 'seaf-backup-state')
export const promotionFile = (pair: Pair): string => join(stateDir(pair), 'promotion.json')

const fileOf = (pair: Pair, side: 'primary' | 'backup'): string => {
  const { database } = pair[side]
  if (database.type !== 'sqlite') throw new TypeError(`the ${side} has no file`)
  return database.path
}

/** The first column of what a side's own database answers. */
export function select(pair: Pair, side: 'primary' | 'backup', sql: string): unknown[] {
  const db = new Database(fileOf(pair, side), { readonly: true, fileMustExist: true })
  try {
    return db.prepare(sql).pluck().all()
  } finally {
    db.close()
  }
}

export function execute(pair: Pair, side: 'primary' | 'backup', sql: string): void {
  const db = new Database(fileOf(pair, side), { fileMustExist: true })
  try {
    db.exec(sql)
  } finally {
    db.close()
  }
}

/** A token as Seafile's clients have them. */
export function giveToken(pair: Pair, repo: string, token: string): void {
  execute(
    pair,
    'primary',
    `CREATE TABLE IF NOT EXISTS RepoUserToken (repo_id CHAR(37), email VARCHAR(255), token CHAR(41));
     CREATE TABLE IF NOT EXISTS RepoTokenPeerInfo (token CHAR(41), peer_id CHAR(41));
     INSERT INTO RepoUserToken VALUES ('${repo}', 'jo@example.com', '${token}');
     INSERT INTO RepoTokenPeerInfo VALUES ('${token}', 'peer');`,
  )
}
