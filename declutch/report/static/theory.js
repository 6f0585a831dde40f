"use strict";

drawFigures(JSON.parse(document.getElementById("data").textContent).figures);
