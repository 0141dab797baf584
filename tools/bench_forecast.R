# One task of tools/bench_forecast with the reference programs: Rscript bench_forecast.R TRACE TASK N. Prints seconds.
Sys.setenv(TZ="UTC"); options(warn=-1)
a <- commandArgs(TRUE); task <- a[2]; n <- as.integer(a[3])
suppressMessages({library(forecast); if (grepl("prophet", task)) library(prophet)})
d <- read.csv(a[1]); y <- tail(d$value, n); ly <- log1p(y)
ts_ <- tail(as.POSIXct(d$timestamp, format="%Y-%m-%dT%H:%M:%SZ", tz="UTC"), n)
pr <- function(v, mode) suppressMessages(prophet(data.frame(ds=ts_, y=v), weekly.seasonality=(n >= 4032), daily.seasonality=TRUE, yearly.seasonality=FALSE, seasonality.mode=mode))
f <- switch(task,
  arima111 = function() Arima(ly, order=c(1,1,1)), arima212 = function() Arima(ly, order=c(2,1,2)),
  sarima24 = function() Arima(ts(ly, frequency=24), order=c(1,1,1), seasonal=c(0,1,1)),
  auto1 = function() auto.arima(ly),
  autofourier = function() auto.arima(ts(ly, frequency=288), seasonal=FALSE, xreg=fourier(ts(ly, frequency=288), K=6)),
  ets1 = function() ets(ly), ets24 = function() ets(ts(ly, frequency=24)), etsANN = function() ets(ly, model="ANN"),
  etsAAA24 = function() ets(ts(ly, frequency=24), model="AAA", damped=FALSE),
  theta = function() thetaf(ts(ly, frequency=if (n >= 576) 288 else 1), h=36), stlm = function() stlm(ts(ly, frequency=288), method="ets"),
  prophet = function() pr(ly, "additive"), prophetmult = function() pr(y, "multiplicative"))
if (is.null(f)) quit(status=3)
invisible(f()) # the first call loads what it needs
t0 <- proc.time(); invisible(f()); t1 <- proc.time()
cat(sum((t1 - t0)[c(1, 2)]), "\n")
