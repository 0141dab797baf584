# arima_tight.json: the two fits that stats::arima's default rule ends short of their optimum, with a tight rule and small
# difference steps. Run from the folder above: Rscript scripts/arima_tight.R
suppressMessages(library(forecast)); library(jsonlite)
rule <- function(d) list(reltol = 1e-14, maxit = 2000, ndeps = rep(1e-5, length(d$coef)))
keep <- function(d, f, fc) list(loglik = f$loglik, coef = as.list(coef(f)), mean = as.numeric(fc$mean),
  lower80 = as.numeric(fc$lower[, 1]), upper95 = as.numeric(fc$upper[, 2]))
d <- fromJSON("arima_arima202_nasa5min.json")
y <- ts(d$y)
f <- Arima(y, order = c(2, 0, 2), optim.control = rule(d))
one <- keep(d, f, forecast(f, h = 36, level = c(80, 95)))
d <- fromJSON("arimax_fourier_nasa5min.json")
y <- ts(d$y, frequency = 288); x <- d$xreg; future <- d$xreg_future
colnames(x) <- colnames(future) <- paste0("x", 1:8)
f <- Arima(y, order = c(2, 0, 1), xreg = x, optim.control = rule(d))
two <- keep(d, f, forecast(f, xreg = future, level = c(80, 95)))
write_json(list(program = list(R = "4.2.2", forecast = as.character(packageVersion("forecast"))),
  call = "Arima() of the named files with optim.control = list(reltol = 1e-14, maxit = 2000, ndeps = 1e-5)",
  arima_arima202_nasa5min = one, arimax_fourier_nasa5min = two), "arima_tight.json", digits = 12, auto_unbox = TRUE)
