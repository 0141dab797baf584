// SPDX-License-Identifier: Apache-2.0
#ifndef APP_VERSION_H
#define APP_VERSION_H

#define SHADOWCAST_VERSION "0.1.0"

#endif
