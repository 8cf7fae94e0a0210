/** Which failpoints there are, on which side, and what must happen on the primary for each to be reached. */

import { pointOf } from './route-steps.js'
import type { Engine } from '../support/sides.js'
import type { Phase } from './route-steps.js'

export type Victim = 'backup' | 'primary'

/** `start`: at each start. `first start`: while the backup has nothing yet. The others are acts of the load or of the round. */
export type Need =
  | 'start'
  | 'first start'
  | 'commit'
  | 'bulk'
  | 'create'
  | 'share'
  | 'history'
  | 'trash'
  | 'cut'
  | 'left temp file'
  | 'unrecorded head'
  | 'command'
  | 'position'

export interface Failpoint {
  readonly victim: Victim
  readonly point: string
  readonly need: Need
}

const BOTH: readonly Phase[] = ['before', 'after']

function points(victim: Victim, need: Need, phases: readonly Phase[], steps: readonly string[]): Failpoint[] {
  return steps.flatMap(step => phases.map(phase => ({ victim, need, point: pointOf(phase, step) })))
}

const ofState = (write: string): string[] => [`BEGIN of the state write ${write}`, `COMMIT of the state write ${write}`]

const OBJECTS: readonly Failpoint[] = [
  ...points('backup', 'commit', BOTH, ['open of a temp file', 'fsync of a temp file', 'rename of an object']),
  ...points('backup', 'commit', ['before', 'during', 'after'], ['write of a temp file']),
  ...points('backup', 'commit', BOTH, ['mkdir of an object directory', 'fsync of an object directory']),
  ...points('backup', 'bulk', BOTH, ['sync -f of the filesystem']),
  ...points('backup', 'left temp file', BOTH, ['removal of a temp file']),
]

const STATE: readonly Failpoint[] = [
  ...points('backup', 'commit', BOTH, [...ofState('pulled'), ...ofState('recorded'), 'the head log entry']),
  ...points('backup', 'bulk', BOTH, ofState('checkpoint')),
  ...points('backup', 'cut', BOTH, ofState('failed')),
  ...points('backup', 'trash', BOTH, ofState('gone')),
  ...points('backup', 'unrecorded head', BOTH, ofState('foundHead')),
  ...points('backup', 'first start', BOTH, ofState('migrate')),
]

const ROWS: Readonly<Record<Engine, readonly Failpoint[]>> = {
  sqlite: [
    ...points('backup', 'first start', BOTH, ['the schema of the rows']),
    ...points('backup', 'commit', BOTH, ['BEGIN of the rows', 'COMMIT of the rows', 'the row of Branch']),
    ...points('backup', 'commit', BOTH, ['the row of RepoInfo', 'the row of RepoSize', 'the row of RepoFileCount']),
    ...points('backup', 'create', BOTH, ['the row of RepoHead', 'the row of Repo', 'the row of RepoOwner']),
    ...points('backup', 'share', BOTH, ['the row of VirtualRepo']),
    ...points('backup', 'history', BOTH, ['the row of RepoHistoryLimit']),
    ...points('backup', 'commit', BOTH, ['a read of rows']),
    ...points('backup', 'start', BOTH, ['a read of heads']),
  ],
  mysql: [
    ...points('backup', 'first start', BOTH, ['the schema of the rows']),
    ...points('backup', 'commit', BOTH, ['BEGIN of the rows', 'COMMIT of the rows', 'a read of rows']),
    ...points('backup', 'start', BOTH, ['a read of heads']),
  ],
}

const CONTROL: readonly Failpoint[] = [
  ...points('backup', 'start', BOTH, ['mkdir of the control directory', 'rename of the control socket']),
  ...points('backup', 'start', BOTH, ['removal of the control directory']),
  ...points('backup', 'command', BOTH, ['an answer to the command']),
]

const AGENT: readonly Failpoint[] = [
  ...points('primary', 'commit', BOTH, ['a read of heads', 'a read of rows', 'open of an object']),
  ...points('primary', 'commit', BOTH, ['a chunk of an answer', 'an event']),
]

const POSITION: readonly Failpoint[] = [
  ...points('primary', 'position', BOTH, ['open of a position temp file', 'write of a position temp file']),
  ...points('primary', 'position', BOTH, ['fsync of a position temp file', 'rename of the saved position']),
  ...points('primary', 'position', BOTH, ['fsync of the state directory']),
]

export function failpointsOf(engine: Engine): readonly Failpoint[] {
  return [...OBJECTS, ...STATE, ...ROWS[engine], ...CONTROL, ...AGENT, ...(engine === 'mysql' ? POSITION : [])]
}

export const nameOf = ({ victim, point }: Failpoint): string => `${victim}: ${point}`

/** Between these the rows have the new head, and the state the old one. */
export const LEAVES_UNRECORDED_HEAD = pointOf('after', 'COMMIT of the rows')
export const LEAVES_TEMP_FILE = pointOf('after', 'write of a temp file')
