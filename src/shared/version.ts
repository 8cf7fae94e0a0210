/** The version of this program, from its package.json: one place to raise it. */

import { readFileSync } from 'node:fs'

const manifest = new URL('../../../package.json', import.meta.url) // from dist/src/shared

export const VERSION: string = (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version
