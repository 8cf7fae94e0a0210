/** History limits on MariaDB. The rules are the same: in the long run alone. */

import { historySuite } from '../support/history-suite.js'

historySuite('mysql')
