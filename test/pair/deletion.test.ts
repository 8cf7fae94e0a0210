/** Deletions on SQLite. */

import { deletionSuite } from '../support/deletion-suite.js'

deletionSuite('sqlite')
