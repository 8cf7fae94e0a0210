/** History limits on SQLite. */

import { historySuite } from '../support/history-suite.js'

historySuite('sqlite')
